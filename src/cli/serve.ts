import { once } from 'node:events'
import { startGateway } from '../gateway.ts'
import { banner } from './banner.ts'
import type { CliContext } from './context.ts'
import { createLogger } from './logger.ts'
import { type Place, settingsOf } from './place.ts'

/** Runs the gateway until it is asked to stop. */
export async function serve(place: Place, context: CliContext): Promise<number> {
  const settings = settingsOf(place, context)
  if (settings === undefined) return 1
  const { config, unsupported } = settings
  for (const { path, message } of unsupported) {
    context.output.err(`warning: ${path}: ${message}\n`)
  }
  const refusing = unsupported.filter(({ refusesStart }) => refusesStart)
  if (refusing.length > 0) {
    const keys = refusing.map(({ path }) => path).join(', ')
    context.output.err(
      `sluice: not started, because it cannot do yet what is asked of it: ${keys}\n`,
    )
    return 1
  }
  // Asked for before the start, so that a stop during a long recovery is a clean one as well.
  const stop = context.stopRequest()
  const logger = await createLogger(config.log, context.onTerminal)
  const { version } = context
  const gateway = await startGateway(config, { logger, clock: context.clock, version })
  context.containUncaught((thrown) => gateway.contain(thrown))
  context.output.out(banner(gateway, settings, place, context))
  if (!stop.aborted) await once(stop, 'abort')
  logger.info({}, 'stopping')
  await gateway.stop()
  logger.info({}, 'stopped')
  return 0
}
