/**
 * Reads that heal: when a reader meets damage in a segment, the keeper sets it aside and salvages
 * it, its holes go into the ledger, and the read goes on behind them. One repair at a time for a
 * file, however many readers wait for it; writers and readers of other segments do not wait.
 */
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../base/logger.ts'
import { SegmentDamaged } from '../reader/segment-file.ts'
import type { FoundRepair } from './find.ts'
import { noteRepair, type RepairState } from './ledger.ts'
import { repairSentence } from './sentences.ts'

/** A segment that the writer leaves is sealed within milliseconds, or given up after 82 s. */
const BUSY_WAIT_MS = 50
const BUSY_TRIES_MAX = 2000
/** Damaged files that one question may meet. */
const REPAIRS_MAX = 100

export interface RepairsParts {
  readonly dataDir: string
  readonly streams: readonly string[]
  readonly state: RepairState
  /** Asks the keeper; `stream` is the place in the log's list. */
  readonly repair: (stream: number, file: string) => Promise<FoundRepair>
  /** Asks the writer to leave a segment. */
  readonly retire: (stream: number, file: string) => void
  readonly logger: Logger | undefined
}

export class Repairs {
  private readonly parts: RepairsParts
  private readonly running = new Map<string, Promise<boolean>>()

  constructor(parts: RepairsParts) {
    this.parts = parts
  }

  /** Asks again after each repair. Rejects with `record-damaged` when a repair does not help. */
  async healed<T>(stream: string, ask: () => Promise<T>): Promise<T> {
    const index = this.parts.streams.indexOf(stream)
    const seen = new Map<string, number>()
    for (;;) {
      try {
        return await ask()
      } catch (thrown) {
        if (!(thrown instanceof SegmentDamaged) || seen.size >= REPAIRS_MAX) throw thrown
        const times = (seen.get(thrown.file) ?? 0) + 1
        seen.set(thrown.file, times)
        // A second repair of a file may fill the hole behind it; a third would be one too many.
        if (times > 2 || !(await this.repair(index, thrown.file))) throw thrown
      }
    }
  }

  /** True when it is worth asking again. */
  private repair(stream: number, file: string): Promise<boolean> {
    const running = this.running.get(file)
    if (running !== undefined) return running
    const repair = this.repairNow(stream, path.basename(file)).finally(() =>
      this.running.delete(file),
    )
    this.running.set(file, repair)
    return repair
  }

  private async repairNow(stream: number, file: string): Promise<boolean> {
    const { dataDir, state, logger } = this.parts
    for (let tries = 0; tries < BUSY_TRIES_MAX; tries++) {
      const found = await this.parts.repair(stream, file)
      switch (found.kind) {
        case 'repaired':
          logger?.warn({ stream: found.note.stream }, repairSentence(found.note))
          await noteRepair(dataDir, state, found.note)
          return true
        case 'sound':
          return true
        case 'failed':
          logger?.error({ file }, `the damaged segment cannot be repaired: ${found.reason}`)
          return false
        case 'active':
          this.parts.retire(stream, file)
          break
        case 'busy':
          break
        default:
          found satisfies never
      }
      await delay(BUSY_WAIT_MS)
    }
    return false
  }
}
