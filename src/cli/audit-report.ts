/** What an audit found, as a verdict, as lines for people and as one object for programs. */
import type { Range } from '../bridge/ranges.ts'
import type { Offset } from '../log/log.ts'
import type { Explainer } from './audit-explain.ts'
import type { Lane, Lanes } from './audit-lanes.ts'
import type { Notices } from './audit-notices.ts'
import { printable } from './format.ts'
import { tableLines } from './table.ts'

interface HoleReport extends Range<Offset> {
  readonly unexplained: number
}

interface LaneReport {
  readonly lane: Lane
  readonly holes: number
  readonly missing: number
  /** By reason. */
  readonly explained: ReadonlyMap<string, number>
  readonly unexplained: number
  /** The first of those with something unexplained. */
  readonly open: readonly HoleReport[]
}

export interface AuditReport {
  readonly lanes: readonly LaneReport[]
  readonly unmarked: number
  readonly beyond: number
  readonly outages: number
  /** Something came, it was all told apart, and every hole is explained. */
  readonly isSound: boolean
}

const OPEN_HOLES_MAX = 20

/**
 * Without an explainer the notices that came by the way explain holes. `isComplete`: with one, also
 * what its log has before the first and behind the last record that came is missing, and partitions
 * of which nothing came.
 */
export function reportOf(
  lanes: Lanes,
  outages: number,
  explainer: Explainer | undefined,
  isComplete: boolean,
  notices: Notices,
): AuditReport {
  const expected = isComplete && explainer ? expectedOf(lanes, explainer) : undefined
  const reports = lanes
    .all()
    .map((lane) => laneReport(lane, explainer ?? notices, expected?.get(lane)))
  const isWhole = reports.every(({ lane, unexplained }) => lane.isExact && unexplained === 0)
  const { unmarked, beyond } = lanes
  const isSound = isWhole && beyond === 0 && reports.length > 0
  return { lanes: reports, unmarked, beyond, outages, isSound }
}

/** Of streams of which one gateway and one epoch came: a log says nothing of any other. */
function expectedOf(lanes: Lanes, explainer: Explainer): ReadonlyMap<Lane, Range<Offset>> {
  const expected = new Map<Lane, Range<Offset>>()
  const all = lanes.all()
  for (const stream of new Set(all.map((lane) => lane.stream))) {
    const own = all.filter((lane) => lane.stream === stream)
    const [{ gateway, epoch } = {}] = own
    if (gateway === undefined || epoch === undefined) continue
    if (own.some((lane) => lane.gateway !== gateway || lane.epoch !== epoch)) continue
    for (const [partition, range] of explainer.partitions(stream)) {
      const lane = lanes.laneOf({ gateway, epoch, stream, partition })
      if (lane !== undefined) expected.set(lane, range)
    }
  }
  return expected
}

function laneReport(
  lane: Lane,
  explainer: Pick<Explainer, 'explain'>,
  expected: Range<Offset> | undefined,
): LaneReport {
  const explained = new Map<string, number>()
  const open: HoleReport[] = []
  let [holes, missing, unexplained] = [0, 0, 0]
  for (const hole of lane.holes(expected)) {
    const records = hole.end - hole.first
    let left = records
    for (const [reason, some] of explainer.explain(lane, hole)) {
      explained.set(reason, (explained.get(reason) ?? 0) + some)
      left -= some
    }
    holes++
    missing += records
    unexplained += left
    if (left > 0 && open.length < OPEN_HOLES_MAX) open.push({ ...hole, unexplained: left })
  }
  return { lane, holes, missing, explained, unexplained, open }
}

const HEADINGS = [
  ...['GATEWAY', 'EPOCH', 'STREAM', 'PARTITION', 'OFFSETS', 'RECORDS'],
  ...['TWICE', 'LATE', 'MISSING', 'VERDICT'],
]

/** A table with a line a partition, the holes that nothing explains, and a sentence. */
export function auditLines(report: AuditReport): string[] {
  const rows = report.lanes.map((one) => [
    printable(one.lane.gateway),
    String(one.lane.epoch),
    printable(one.lane.stream),
    String(one.lane.partition),
    rangeText(one.lane.range),
    String(one.lane.records),
    String(one.lane.duplicates),
    String(one.lane.late),
    String(one.missing),
    verdictOf(one),
  ])
  const open = report.lanes.flatMap(({ lane, open: holes }) =>
    holes.map(
      ({ first, end, unexplained }) =>
        `hole: ${printable(lane.stream)}, partition ${lane.partition}: [${first}, ${end}), unexplained ${unexplained}`,
    ),
  )
  return [...tableLines(HEADINGS, rows), ...open, ...notesOf(report), sentenceOf(report)]
}

function rangeText(range: Range<Offset> | undefined): string {
  return range === undefined ? '-' : `[${range.first}, ${range.end})`
}

function verdictOf({ lane, missing, unexplained, holes, explained }: LaneReport): string {
  if (!lane.isExact) return 'too many holes to tell apart'
  if (missing === 0) return 'contiguous'
  const reasons = [...explained].map(([reason, records]) => `${reason} ${records}`)
  const why = reasons.length === 0 ? '' : `, explained: ${reasons.join(', ')}`
  const open = unexplained === 0 ? '' : `, unexplained: ${unexplained}`
  return `${holes} ${holes === 1 ? 'hole' : 'holes'}${why}${open}`
}

function notesOf({ unmarked, beyond, outages }: AuditReport): string[] {
  const notes: string[] = []
  if (unmarked > 0) notes.push(`${unmarked} messages said nothing of where they come from`)
  if (beyond > 0) notes.push(`${beyond} records were of more partitions than are looked at`)
  if (outages > 0) {
    notes.push(
      `the connection was lost ${outages} times: without --client-id, holes may be the audit's own`,
    )
  }
  return notes
}

function sentenceOf({ lanes, isSound }: AuditReport): string {
  if (lanes.length === 0) return 'nothing came that says where it comes from'
  if (!isSound) return 'something is missing that nothing explains'
  const isWhole = lanes.every(({ missing }) => missing === 0)
  return isWhole ? 'nothing is missing' : 'everything that is missing is explained'
}

/** The same as one line of JSON. */
export function auditJson({ lanes, unmarked, beyond, outages, isSound }: AuditReport): string {
  return printable(
    JSON.stringify({
      sound: isSound,
      unmarked,
      beyond,
      outages,
      partitions: lanes.map(({ lane, holes, missing, explained, unexplained, open }) => ({
        gateway: lane.gateway,
        epoch: lane.epoch,
        stream: lane.stream,
        partition: lane.partition,
        first: lane.range?.first,
        end: lane.range?.end,
        records: lane.records,
        duplicates: lane.duplicates,
        late: lane.late,
        exact: lane.isExact,
        holes,
        missing,
        explained: Object.fromEntries(explained),
        unexplained,
        unexplained_holes: open,
      })),
    }),
  )
}
