/**
 * Retention at work: looks at the log every few seconds, plans (policy.ts) and carries it out.
 *
 * For each segment that goes, in this order, so that a crash at any point loses no word about it:
 * the gaps of the cursors that have not read it are on disk (S2), the cursors stand behind it, the
 * files are deleted. A crash in between leaves a segment that goes with the next run.
 *
 * It runs on the main thread and only counts there; files are looked at and deleted by the keeper.
 */
import { statfs } from 'node:fs/promises'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import type { Logger } from '../../base/logger.ts'
import { lastTimeOf } from '../clock/time-of.ts'
import type { EventLog } from '../log.ts'
import type { GapReason } from '../state.ts'
import { needs, type Passed, passOver } from './lagging.ts'
import {
  planRetention,
  type Refusal,
  type Removal,
  type RemovalReason,
  type RetentionFacts,
  type RetentionRule,
  removalReasons,
} from './policy.ts'
import type { FinishedSegment, Segments, SurveyedStream } from './segments.ts'

export { type RemovalReason, type RetentionRule, removalReasons } from './policy.ts'
export type { Segments } from './segments.ts'

/** Free space below which the oldest segments go. */
export type MinFree =
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'bytes'; readonly bytes: number }

export interface DiskSpace {
  /** What this user may still write. */
  readonly freeBytes: number
  readonly totalBytes: number
}

/** The part of the log that retention uses. */
export type RetainedLog = Pick<EventLog, 'full' | 'setFull' | 'onCommit' | 'state'> & {
  readonly segments: Segments
}

export interface RetentionParts {
  readonly log: RetainedLog
  /** By stream; one that is not named has no rule of its own, only the disk guard. */
  readonly rules: ReadonlyMap<string, RetentionRule>
  readonly minFree: MinFree
  readonly dataDir: string
  readonly clock: Clock
  readonly logger: Logger
  /** The wall time for retention by age; undefined while nobody knows it. */
  readonly trustedNow?: () => number | undefined
  /** The space of the file system that holds the data directory. */
  readonly disk?: () => Promise<DiskSpace>
  readonly intervalMs?: number
  /** Bytes committed after which it looks at once. */
  readonly commitBytes?: number
}

/** Often enough for any age; what fills a disk faster is seen by `COMMIT_BYTES`. */
const INTERVAL_MS = 10_000
/** One segment of the default size: so a rule by size is passed by about one segment. */
const COMMIT_BYTES = 64 * 1024 * 1024

const noRule: RetentionRule = { onLag: 'gap' }

const gapReasonOf: Readonly<Record<RemovalReason, GapReason>> = {
  age: 'retention',
  size: 'retention',
  'disk-guard': 'disk-guard',
}

export interface RemovedCount {
  segments: number
  sizeBytes: number
}

export class Retention {
  /** Since the start of the process, by stream and reason. */
  readonly removed = new Map<string, Record<RemovalReason, RemovedCount>>()
  /** As of the last run. */
  space: DiskSpace | undefined
  private readonly parts: RetentionParts
  private readonly timer: NodeJS.Timeout
  private readonly commitBytes: number
  private committedBytes = 0
  private running: Promise<void> | undefined
  private stopped = false
  /** Streams that are full by its word: others have words of their own. */
  private readonly refused = new Set<string>()
  /** What did not work at the last run, each told once. */
  private troubles = new Set<string>()

  constructor(parts: RetentionParts) {
    this.parts = parts
    this.commitBytes = parts.commitBytes ?? COMMIT_BYTES
    for (const stream of parts.rules.keys()) this.countOf(stream)
    parts.log.onCommit(({ sizeBytes }) => this.committed(sizeBytes))
    this.timer = setInterval(() => void this.run(), parts.intervalMs ?? INTERVAL_MS)
  }

  /** Looks once; while a look goes on, that one. Troubles of the disk are logged, not thrown. */
  run(): Promise<void> {
    if (this.stopped) return Promise.resolve()
    this.running ??= this.look().finally(() => {
      this.running = undefined
    })
    return this.running
  }

  /** No segment goes after it resolves. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    this.stopped = true
    await this.running
  }

  private committed(sizeBytes: number): void {
    this.committedBytes += sizeBytes
    if (this.committedBytes < this.commitBytes || this.running !== undefined) return
    this.committedBytes = 0
    void this.run()
  }

  private async look(): Promise<void> {
    const troubles = new Map<string, string>()
    try {
      await this.measure(troubles)
      const streams = this.mayDelete ? await this.parts.log.segments.survey() : []
      const plan = planRetention(this.factsOf(streams))
      await this.removeAll(plan.removals, troubles)
      if (this.stopped) return
      this.refuse(plan.refusals)
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      troubles.set('retention', messageOf(thrown))
    }
    this.tell(troubles)
  }

  /**
   * What needs no note of a gap goes first: on a full disk the notes may find room only behind it.
   * A stream whose segment stays waits for the next run: the next one of it would leave a hole.
   */
  private async removeAll(
    removals: readonly Removal[],
    troubles: Map<string, string>,
  ): Promise<void> {
    const stuck = new Set<string>()
    for (const removal of gaplessFirst(removals, (each) => this.makesGaps(each))) {
      if (this.stopped) return
      if (stuck.has(removal.stream)) continue
      const failure = await this.tryCarryOut(removal)
      if (failure === undefined) continue
      stuck.add(removal.stream)
      if (failure !== 'held') troubles.set(`${removal.stream} ${removal.segment.file}`, failure)
    }
  }

  /** One that fails, because its gaps cannot be noted, must not hold up other streams. */
  private async tryCarryOut(removal: Removal): Promise<string | undefined> {
    try {
      return await this.carryOut(removal)
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      return messageOf(thrown)
    }
  }

  private makesGaps({ stream, segment, reason }: Removal): boolean {
    return this.passedBy(stream, segment, gapReasonOf[reason]).length > 0
  }

  /** Without a rule, and with space enough, no file is looked at: the keeper need not run. */
  private get mayDelete(): boolean {
    const { space } = this
    if (space !== undefined && space.freeBytes < minFreeBytes(this.parts.minFree, space))
      return true
    return [...this.parts.rules.values()].some(
      ({ ageMs, sizeBytes }) => ageMs !== undefined || sizeBytes !== undefined,
    )
  }

  private factsOf(streams: readonly SurveyedStream[]): RetentionFacts {
    const { log, rules, minFree, clock, trustedNow } = this.parts
    const boots = log.state.boots()
    const { space } = this
    return {
      streams: streams.map((surveyed) => ({
        ...surveyed,
        rule: rules.get(surveyed.stream) ?? noRule,
        segments: surveyed.segments.map((segment) => ({
          ...segment,
          lastTimeMs: lastTimeOf(segment, boots),
        })),
      })),
      cursors: log.state.cursors.list(),
      nowMs: trustedNow ? trustedNow() : clock.now(),
      disk: space && { freeBytes: space.freeBytes, minFreeBytes: minFreeBytes(minFree, space) },
    }
  }

  private async measure(troubles: Map<string, string>): Promise<void> {
    try {
      this.space = await (this.parts.disk?.() ?? spaceOf(this.parts.dataDir))
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      this.space = undefined
      troubles.set('disk', `the free space is unknown: ${messageOf(thrown)}`)
    }
  }

  /** Why the segment stays; undefined when it is gone. */
  private async carryOut({ stream, segment, reason }: Removal): Promise<string | undefined> {
    const { log, rules } = this.parts
    const passed = this.passedBy(stream, segment, gapReasonOf[reason])
    // A cursor was put back after the plan was made.
    if (passed.length > 0 && rules.get(stream)?.onLag === 'refuse') return 'held'
    await this.noteGaps(passed, segment)
    failPoint('retention:cursors-moved')
    const failure = await log.segments.remove(stream, segment.file)
    if (failure !== undefined) return `it cannot be deleted: ${failure}`
    const count = this.countOf(stream)[reason]
    count.segments++
    count.sizeBytes += segment.sizeBytes
    const { file, first, end } = segment
    this.parts.logger.info(
      { stream, reason, file, range: `[${first}, ${end})`, gaps: passed.length },
      'a segment was removed',
    )
    return undefined
  }

  private passedBy(stream: string, segment: FinishedSegment, reason: GapReason): Passed[] {
    return this.parts.log.state.cursors
      .list()
      .filter((cursor) => cursor.stream === stream)
      .flatMap((cursor) => passOver(cursor, segment, reason) ?? [])
  }

  /** S2: when it resolves, the gaps are on disk, and the cursors stand behind the segment. */
  private async noteGaps(passed: readonly Passed[], segment: FinishedSegment): Promise<void> {
    if (passed.length === 0) return
    const { cursors, gaps } = this.parts.log.state
    await gaps.add(passed.map(({ gap }) => gap))
    failPoint('retention:gap-written')
    for (const { gap } of passed) {
      const cursor = gap.cursor === undefined ? undefined : cursors.get(gap.cursor)
      if (cursor === undefined || !needs(cursor.place, segment)) continue
      const again = passOver(cursor, segment, gap.reason)
      if (again !== undefined) await cursors.commitNow(cursor.name, again.place)
    }
  }

  private refuse(refusals: readonly Refusal[]): void {
    const { log, logger } = this.parts
    const cursors = new Map(refusals.map(({ stream, cursor }) => [stream, cursor]))
    for (const stream of [...this.refused]) {
      if (cursors.has(stream)) continue
      this.refused.delete(stream)
      log.setFull(stream, undefined)
      logger.info({ stream }, `stream ${stream} takes new messages again`)
    }
    for (const [stream, cursor] of cursors) {
      if (log.full.has(stream)) continue
      const held = `cursor ${cursor} still needs its oldest segment`
      const why = `the disk is below disk.min_free and ${held}`
      this.refused.add(stream)
      log.setFull(stream, why)
      logger.warn({ stream, cursor }, `stream ${stream} refuses new messages: ${why}`)
    }
  }

  private countOf(stream: string): Record<RemovalReason, RemovedCount> {
    const known = this.removed.get(stream)
    if (known !== undefined) return known
    const zero = (): RemovedCount => ({ segments: 0, sizeBytes: 0 })
    const counts = Object.fromEntries(removalReasons.map((reason) => [reason, zero()]))
    this.removed.set(stream, counts as Record<RemovalReason, RemovedCount>)
    return this.countOf(stream)
  }

  /** A line when something stops working and one when it works again, none in between. */
  private tell(troubles: ReadonlyMap<string, string>): void {
    for (const [what, sentence] of troubles) {
      if (this.troubles.has(what)) continue
      this.parts.logger.error({ what }, `retention could not do its work: ${sentence}`)
    }
    if (this.troubles.size > 0 && troubles.size === 0) {
      this.parts.logger.info({}, 'retention does its work again')
    }
    this.troubles = new Set(troubles.keys())
  }
}

/** Each stream's removals stay in their order: behind one that makes gaps, all of it come later. */
function gaplessFirst(
  removals: readonly Removal[],
  makesGaps: (removal: Removal) => boolean,
): Removal[] {
  const later = new Set<string>()
  const first: Removal[] = []
  const last: Removal[] = []
  for (const removal of removals) {
    if (!later.has(removal.stream) && makesGaps(removal)) later.add(removal.stream)
    if (later.has(removal.stream)) last.push(removal)
    else first.push(removal)
  }
  return [...first, ...last]
}

function minFreeBytes(minFree: MinFree, { totalBytes }: DiskSpace): number {
  return minFree.kind === 'bytes' ? minFree.bytes : (totalBytes * minFree.percent) / 100
}

async function spaceOf(folder: string): Promise<DiskSpace> {
  const { bavail, blocks, bsize } = await statfs(folder)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}
