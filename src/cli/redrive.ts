/** `sluice redrive`: has the running gateway put the dead letters of a queue back into it. */
import { askGateway, type GatewayOptions } from './ask-gateway.ts'
import type { CliContext } from './context.ts'
import { printable } from './format.ts'

/** Dead letters are appended one by one, each kept before the next. */
const TIMEOUT_MS = 600_000

/** Exit code 1 when not all of them are back. */
export async function redriveCommand(
  queue: string,
  options: GatewayOptions,
  context: CliContext,
): Promise<number> {
  const path = `/v1/queues/${encodeURIComponent(queue)}/redrive`
  const answer = await askGateway('POST', path, {}, options, context, TIMEOUT_MS)
  if (answer === undefined) return 1
  const { records, stopped } = answer as { records: number; stopped?: string }
  const what = records === 1 ? '1 dead letter is' : `${records} dead letters are`
  context.output.out(`${what} back in ${printable(queue)}\n`)
  if (stopped === undefined) return 0
  context.output.err(`sluice: not all: ${printable(stopped)}; run it again later\n`)
  return 1
}
