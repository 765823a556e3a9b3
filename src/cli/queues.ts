/** `sluice queues`: asks the running gateway what waits in its work queues. */
import type { QueueInfo } from '../consumers/consumers.ts'
import { askGateway, type GatewayOptions } from './ask-gateway.ts'
import type { CliContext } from './context.ts'
import { ageText } from './cursors.ts'
import { printable } from './format.ts'
import { tableLines } from './table.ts'

export interface QueuesOptions extends GatewayOptions {
  readonly format?: 'text' | 'json'
}

const HEADINGS = ['QUEUE', 'DEPTH', 'OLDEST', 'UNDER WAY', 'CONSUMERS', 'REDELIVERED', 'DEAD']

/** Prints each queue. Exit code 1 when the gateway does not answer. */
export async function queuesCommand(options: QueuesOptions, context: CliContext): Promise<number> {
  const answer = await askGateway('GET', '/v1/queues', undefined, options, context)
  if (answer === undefined) return 1
  const { queues } = answer as { queues: readonly QueueInfo[] }
  if (queues.length === 0 && options.format !== 'json') {
    context.output.err('sluice: the gateway has no queue\n')
    return 0
  }
  const lines =
    options.format === 'json'
      ? queues.map((queue) => JSON.stringify(queue))
      : tableLines(HEADINGS, queues.map(rowOf))
  await context.data.write(lines.map((line) => `${printable(line)}\n`).join(''))
  return 0
}

function rowOf(queue: QueueInfo): string[] {
  const { depth, oldestAgeMs, inflight, redeliveries, deadLetters, consumers } = queue
  return [
    queue.queue,
    String(depth),
    depth === 0 ? '-' : ageText(oldestAgeMs),
    String(inflight),
    String(consumers.length),
    String(redeliveries),
    String(deadLetters),
  ]
}
