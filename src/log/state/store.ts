/**
 * The state of a data directory: read whole at a start, kept in memory, written by a thread of its
 * own. It owns `state.db` and the reserve beside it; what is in the streams is the log's. The
 * promises S1 to S3 are in ../state.ts.
 */
import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, SluiceError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { Boot, Cursor, LogState } from '../state.ts'
import { CursorSet } from './cursor-set.ts'
import { DocumentSet } from './documents.ts'
import { GAP_ROWS_MAX, GapLedger } from './gap-ledger.ts'
import type { LogSource } from './placing.ts'
import type { StateSink } from './sink.ts'
import { realSeams, StateFile, type StateFileSeams } from './state-file.ts'
import { emptyImage, type StateImage } from './tables.ts'
import { type FoundEnd, takenBack } from './taken-back.ts'
import { StateThread } from './thread.ts'
import { Writes } from './writes.ts'

/** A crash costs a cursor this much at most, in records that are delivered again. */
export const FLUSH_MS = 5000
/** Codes of Node and SQLite that mean: this user may not write here. */
const NOT_WRITABLE =
  /^(EACCES|EPERM|EROFS|ENOENT|ENOTDIR|SQLITE_READONLY|SQLITE_CANTOPEN|SQLITE_PERM)/

export interface OpenStateOptions {
  /** Made already, and taken by this process. */
  readonly dataDir: string
  readonly clock: Clock
  readonly logger?: Logger
  /** How long a lazy commit may wait; FLUSH_MS without it. */
  readonly flushMs?: number
  /** The lowest number that this boot may get: more than any boot that the records know. */
  readonly bootMin?: number
  /** What is known of this boot's time, written with its number. */
  readonly bootRow?: (boot: number) => Boot | undefined
  /** The lowest epoch: more than any that was given out, after a state that was lost. */
  readonly epochMin?: number
  /** Where writes go; the state thread without it. */
  readonly sink?: StateSink
  /** How the file is opened at the start. */
  readonly seams?: StateFileSeams
}

/**
 * Reads the state and numbers this boot, synchronously, before anything is served.
 * Throws `state-damaged`, `format-unknown`, `data-dir-unusable` or `storage`.
 */
export function openState(options: OpenStateOptions): StateStore {
  const { dataDir, clock, logger, flushMs, sink, bootMin = 1, epochMin = 1 } = options
  const file = new StateFile(dataDir, options.seams ?? realSeams)
  try {
    const boot = file.addBoot(clock.now(), bootMin)
    const row = options.bootRow?.(boot)
    if (row !== undefined) file.write([{ kind: 'put-boot', row }])
    const image = { ...file.read(), lastBoot: boot }
    const epoch = Math.max(image.meta.get('epoch') ?? 1, epochMin)
    if (image.meta.get('epoch') !== epoch) {
      file.write([{ kind: 'put-meta', row: { key: 'epoch', value: epoch } }])
    }
    return new StateStore({
      image: { ...image, meta: new Map([...image.meta, ['epoch', epoch]]) },
      sink: sink ?? new StateThread({ dataDir }, file.reserveState),
      clock,
      logger,
      flushMs: flushMs ?? FLUSH_MS,
    })
  } catch (thrown) {
    throw unusable(thrown)
  } finally {
    file.close()
  }
}

export interface StateStoreParts {
  readonly image?: StateImage
  readonly sink: StateSink
  readonly clock: Clock
  readonly logger?: Logger | undefined
  readonly flushMs?: number
  readonly gapRowsMax?: number
}

export class StateStore implements LogState {
  readonly cursors: CursorSet
  readonly gaps: GapLedger
  readonly documents: DocumentSet
  /** The number of this run, from 1. */
  readonly boot: number
  epoch: number
  private readonly writes: Writes
  private readonly knownBoots: Map<number, Boot>
  private source: LogSource | undefined
  private lastEpoch: Promise<unknown> = Promise.resolve()
  private closed: Promise<void> | undefined

  constructor(parts: StateStoreParts) {
    const { image = emptyImage, sink, clock } = parts
    this.writes = new Writes(sink, parts.logger)
    this.boot = image.lastBoot
    this.epoch = image.meta.get('epoch') ?? 1
    this.knownBoots = new Map(image.boots.map((boot) => [boot.boot, boot]))
    this.cursors = new CursorSet({
      rows: image.cursors,
      writes: this.writes,
      source: () => present(this.source, 'the log that the cursors are on'),
      clock,
      flushMs: parts.flushMs ?? FLUSH_MS,
    })
    this.documents = new DocumentSet({
      kinds: image.documentKinds,
      writes: this.writes,
      sink,
      flushMs: parts.flushMs ?? FLUSH_MS,
    })
    this.gaps = new GapLedger({
      image,
      writes: this.writes,
      cursors: this.cursors,
      clock,
      rowsMax: parts.gapRowsMax ?? GAP_ROWS_MAX,
    })
  }

  /** Why the last write of state failed; undefined while they work. */
  get failure(): string | undefined {
    return this.writes.failure
  }

  boots(): ReadonlyMap<number, Boot> {
    return this.knownBoots
  }

  /** From now on cursors ask this log. */
  attach(source: LogSource): void {
    this.source = source
  }

  /** Notes what is known of a boot's time; on disk when it resolves. */
  async saveBoot(boot: Boot): Promise<void> {
    this.knownBoots.set(boot.boot, boot)
    await this.writes.write([{ kind: 'put-boot', row: boot }])
  }

  /** The next epoch (S3); it counts from when it is on disk. */
  raiseEpoch(): Promise<number> {
    const raised = this.lastEpoch.then(async () => {
      const value = this.epoch + 1
      await this.writes.write([{ kind: 'put-meta', row: { key: 'epoch', value } }])
      this.epoch = value
      return value
    })
    this.lastEpoch = raised.catch(() => undefined)
    return raised
  }

  /**
   * At a start, before anything is appended: takes cursors that are ahead of where their stream was
   * found to end back to that end, or they would skip what comes there next, cuts off gaps that
   * reach beyond it, and raises the epoch (S3) for them or when `isRepeated` says that positions
   * may be given out again. The epoch first: after a crash in between, the others raise it once
   * more. The cursors that were taken back; on disk when it resolves. Rejects with `storage`.
   */
  async settle(
    ends: ReadonlyMap<string, FoundEnd>,
    isRepeated: boolean,
  ): Promise<readonly Cursor[]> {
    const ahead = this.cursors.list().flatMap((cursor) => takenBack(cursor, ends))
    const gaps = this.gaps.behindEnds(ends)
    if (isRepeated || ahead.length + gaps.length > 0) await this.raiseEpoch()
    if (ahead.length > 0) await this.cursors.takeBack(ahead)
    if (gaps.length > 0) await this.gaps.cutOff(gaps)
    return ahead
  }

  /** Writes what is lazy now. Rejects with `storage`; it is tried again later then. */
  async flush(): Promise<void> {
    const fates = await Promise.allSettled([this.cursors.flush(), this.documents.flush()])
    for (const fate of fates) if (fate.status === 'rejected') throw fate.reason
  }

  /**
   * Writes what waits and lets go of the file. What cannot be written was told to the operator, and
   * costs records that are delivered again (S1): no reason to fail a stop.
   */
  close(): Promise<void> {
    this.closed ??= this.closeNow()
    return this.closed
  }

  private async closeNow(): Promise<void> {
    await this.gaps.settled()
    await this.lastEpoch
    try {
      await this.flush()
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown
    } finally {
      this.cursors.close()
      this.documents.close()
      await this.writes.close()
    }
  }
}

function unusable(thrown: unknown): unknown {
  if (!(thrown instanceof SluiceError) || thrown.code !== 'storage') return thrown
  const { message, cause } = thrown
  if (!NOT_WRITABLE.test(codeOf(cause) ?? '')) return thrown
  return new SluiceError('data-dir-unusable', message, { cause })
}
