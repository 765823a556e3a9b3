import { SluiceError } from '../base/errors.ts'
import { parseStart } from '../log/start.ts'
import { changeState } from '../log/state/offline.ts'
import type { CliContext } from './context.ts'
import { placeText } from './cursors.ts'
import { printable } from './format.ts'
import { dataDirOf, type Place } from './place.ts'
import { partitionFault, UsageError } from './tail-query.ts'

export interface SeekOptions extends Place {
  readonly to: string
}

/** Moves a cursor while no gateway runs: a running one has its cursors in memory and owns them. */
export async function seek(
  name: string,
  options: SeekOptions,
  context: CliContext,
): Promise<number> {
  const to = parseStart(options.to, context.clock)
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  try {
    await changeState(dataDir, context.clock, async ({ cursors }, reader) => {
      const stream = cursors.get(name)?.stream
      if (stream !== undefined && to.kind === 'offset') {
        const fault = partitionFault(to.partition, reader.bounds(stream))
        if (fault !== undefined) throw new UsageError(fault)
      }
      const { place } = await cursors.seek(name, to)
      const { records } = await cursors.lag(name)
      const sentence = `${printable(name)} reads ${stream} from ${placeText(place)} on`
      context.output.out(`${sentence}; records ahead: ${records}\n`)
    })
    return 0
  } catch (thrown) {
    if (!(thrown instanceof SluiceError) || thrown.code !== 'data-dir-locked') throw thrown
    const owner = `the gateway that runs on ${dataDir} owns its cursors`
    context.output.err(`sluice: ${owner}: stop it, seek, and start it again\n`)
    return 1
  }
}
