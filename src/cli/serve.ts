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
  const { config } = settings
  // Asked for before the start, so that a stop during a long recovery is a clean one as well.
  const stop = context.stopRequest()
  // A request during the start is answered after it: the files may have been read before.
  let isReloadAsked = false
  let reload = (): void => {
    isReloadAsked = true
  }
  context.onReloadRequest(() => reload())
  const logger = await createLogger(config.log, context.onTerminal)
  const { version } = context
  const gateway = await startGateway(config, { logger, clock: context.clock, version })
  context.containUncaught((thrown) => gateway.contain(thrown))
  reload = () => {
    const changed = settingsOf(place, context)
    if (changed !== undefined) gateway.reload(changed.config)
    else logger.error({}, 'the configuration is not valid, see above: everything stays as it was')
  }
  if (isReloadAsked) reload()
  context.output.out(banner(gateway, settings, place, context))
  if (!stop.aborted) await once(stop, 'abort')
  logger.info({}, 'stopping')
  await gateway.stop()
  logger.info({}, 'stopped')
  return 0
}
