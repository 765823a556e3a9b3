/**
 * The position at which a reader begins who asks for a time: the first record whose bounded time
 * (spans.ts) is that time or later.
 *
 * It finds the boots of the stream by doubling steps and halving, then the time by halving within
 * one: some 50 small reads for each boot, and none for the records between.
 */
import { type BootRun, boundedRuns, boundedTime } from './spans.ts'
import { type Boots, type Moment, timeOf, trustIn } from './time-of.ts'

/** The records of a stream, [first, end), in which positions can be missing after damage. */
export interface Moments {
  readonly first: number
  readonly end: number
  /** Of the first record at or after a position; undefined when there is none before the end. */
  at(position: number): Moment | undefined
}

export function locateTime(moments: Moments, boots: Boots, timeMs: number): number {
  for (const run of boundedRuns(bootRuns(moments, boots))) {
    if (boundedTime(run, run.lastMs) < timeMs) continue
    return firstIndex(run.first, run.end, (position) => {
      const moment = moments.at(position)
      return moment === undefined || boundedTime(run, timeOf(moment, boots)) >= timeMs
    })
  }
  return moments.end
}

/** The boots of a stream, in order: their numbers rise with the positions. */
function bootRuns(moments: Moments, boots: Boots): BootRun[] {
  const runs: BootRun[] = []
  let first = moments.first
  for (let moment = momentBefore(moments, first); moment !== undefined; ) {
    const { boot } = moment
    const end = runEnd(moments, first, boot)
    const firstMs = timeOf(moment, boots)
    const lastMs = timeOf(moments.at(end - 1) ?? moment, boots)
    const trust = trustIn(lastMs, boots.get(boot)?.quality ?? 'none')
    runs.push({ first, end, firstMs, lastMs, trust })
    first = end
    moment = momentBefore(moments, first)
  }
  return runs
}

function momentBefore(moments: Moments, position: number): Moment | undefined {
  return position < moments.end ? moments.at(position) : undefined
}

/** Behind the last position of the boot that `first` belongs to. */
function runEnd(moments: Moments, first: number, boot: number): number {
  const isLater = (position: number): boolean => moments.at(position)?.boot !== boot
  // Mostly asked for in the newest boot, and many streams have only one.
  if (!isLater(moments.end - 1)) return moments.end
  let step = 1
  while (first + step < moments.end && !isLater(first + step)) step *= 2
  return firstIndex(first + Math.floor(step / 2), Math.min(first + step, moments.end), isLater)
}

/** The first index in [from, end) that holds, or `end`; all after one that holds must hold. */
export function firstIndex(from: number, end: number, holds: (index: number) => boolean): number {
  let low = from
  let high = end
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (holds(middle)) high = middle
    else low = middle + 1
  }
  return low
}
