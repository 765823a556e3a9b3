/**
 * What goes on beside the appends of the recorded process: retention, cursors and gaps, and at its
 * end a backup and a restore. Each says in a mark what it is about to do where that takes records
 * away, and otherwise what it has done:
 *
 *   removing <stream> <end>     records before `end` may be gone from here on
 *   moving <next>               the cursor may stand so far from here on
 *   moved <next>                and stands so far at least
 *   copying                     a backup begins, and a restore of it follows
 *   backed-up, restored         the copy is whole
 */
import path from 'node:path'
import { systemClock } from '../../../src/base/clock.ts'
import { backup } from '../../../src/log/backup/backup.ts'
import { restore } from '../../../src/log/backup/restore.ts'
import { asPosition } from '../../../src/log/log.ts'
import type { OpenedLog } from '../../../src/log/open.ts'
import { Retention } from '../../../src/log/retention/retention.ts'

type Mark = (line: string) => void

/** A cursor that never reads: what it loses becomes gaps. */
export const LAGGING = 'lagging'
/** A cursor that commits at once, on the same stream. */
export const PROMPT = 'prompt'
export const STREAM = 'sync'
/** Two segments or three. */
const SIZE_BYTES = 160 * 1024

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export class Upkeep {
  private readonly log: OpenedLog
  private readonly mark: Mark
  private readonly retention: Retention

  private constructor(log: OpenedLog, dataDir: string, mark: Mark) {
    this.log = log
    this.mark = mark
    const rule = { onLag: 'gap', sizeBytes: SIZE_BYTES } as const
    this.retention = new Retention({
      log: withMarks(log, mark),
      dataDir,
      clock: systemClock,
      logger: silent,
      rules: new Map([
        [STREAM, rule],
        ['write', rule],
      ]),
      minFree: { kind: 'bytes', bytes: 0 },
      intervalMs: 3_600_000,
      commitBytes: Number.POSITIVE_INFINITY,
    })
  }

  static async begin(log: OpenedLog, dataDir: string, mark: Mark): Promise<Upkeep> {
    for (const name of [LAGGING, PROMPT]) {
      await log.state.cursors.open(name, STREAM, 'stream', { kind: 'earliest' })
    }
    mark('cursors')
    return new Upkeep(log, dataDir, mark)
  }

  /** `next`: the end of what is kept of the stream. */
  async commit(next: number): Promise<void> {
    this.mark(`moving ${next}`)
    await this.log.state.cursors.commitNow(PROMPT, { kind: 'stream', next: asPosition(next) })
    this.mark(`moved ${next}`)
  }

  retain(): Promise<void> {
    return this.retention.run()
  }

  end(): Promise<void> {
    return this.retention.stop()
  }
}

function withMarks(log: OpenedLog, mark: Mark): OpenedLog {
  const ends = new Map<string, number>()
  const segments: OpenedLog['segments'] = {
    survey: async () => {
      const streams = await log.segments.survey()
      for (const { stream, segments: finished } of streams) {
        for (const { file, end } of finished) ends.set(`${stream} ${file}`, end)
      }
      return streams
    },
    remove: (stream, file) => {
      mark(`removing ${stream} ${ends.get(`${stream} ${file}`)}`)
      return log.segments.remove(stream, file)
    },
  }
  return new Proxy(log, {
    get: (target, key) => {
      if (key === 'segments') return segments
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

export const backupIn = (disk: string): string => path.join(disk, 'backup')
export const restoredIn = (disk: string): string => path.join(disk, 'restored')

/** Once the log is closed. */
export async function copyOff(dataDir: string, mark: Mark): Promise<void> {
  const disk = path.dirname(dataDir)
  const target = backupIn(disk)
  mark('copying')
  await backup({ dataDir, target, gateway: undefined, clock: systemClock })
  mark('backed-up')
  const to = restoredIn(disk)
  await restore({ backup: target, dataDir: to, verify: true, clock: systemClock })
  mark('restored')
}
