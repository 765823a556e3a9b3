/**
 * Gaps that a bridge told in-band (`gaps` of a forward), as explanations of holes: what an auditor
 * has who cannot look into the gateway's data directory. A notice speaks of positions, the holes
 * are of offsets; so it explains as many records of its stream as it counts, and not one more.
 */
import type { Range } from '../bridge/ranges.ts'
import { type GapReason, gapReasons, type Offset } from '../log/log.ts'
import type { Explained } from './audit-explain.ts'
import type { Lane } from './audit-lanes.ts'

export interface GapNotice {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
  readonly first: number
  readonly end: number
  readonly records: number
  readonly reason: GapReason
}

/** They come from the wire: whoever may publish there must not fill the memory here. */
const NOTICES_MAX = 100_000
const BYTES_MAX = 1024
const NAME_CHARACTERS_MAX = 64
const START = Buffer.from('{"gap":')

/** What a message says, when it is such a notice. */
export function noticeOf(payload: Uint8Array): GapNotice | undefined {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  if (bytes.length > BYTES_MAX || !bytes.subarray(0, START.length).equals(START)) return undefined
  const value = parsed(bytes.toString())
  if (typeof value !== 'object' || value === null) return undefined
  const { gateway, epoch, stream, first, end, records, reason } = value as Record<string, unknown>
  const known = gapReasons.find((one) => one === reason)
  if (known === undefined || !isName(gateway) || !isName(stream)) return undefined
  if (!isWhole(epoch) || !isWhole(first) || !isWhole(end) || !isWhole(records)) return undefined
  if (first >= end || records > end - first) return undefined
  return { gateway, epoch, stream, first, end, records, reason: known }
}

export class Notices {
  /** By gateway, epoch and stream; of notices that begin alike the last one is the longest. */
  private readonly byStream = new Map<string, Map<string, { notice: GapNotice; left: number }>>()
  private count = 0

  see(notice: GapNotice): void {
    const key = keyOf(notice)
    const own = this.byStream.get(key) ?? new Map<string, { notice: GapNotice; left: number }>()
    const place = `${notice.reason} ${notice.first}`
    const known = own.get(place)
    if (known !== undefined && known.notice.end >= notice.end) return
    if (known === undefined && this.count >= NOTICES_MAX) return
    if (known === undefined) this.count++
    own.set(place, { notice, left: notice.records })
    this.byStream.set(key, own)
  }

  explain(lane: Lane, hole: Range<Offset>): Explained {
    const explained = new Map<string, number>()
    let missing = hole.end - hole.first
    for (const budget of this.byStream.get(keyOf(lane))?.values() ?? []) {
      const used = Math.min(missing, budget.left)
      if (used === 0) continue
      budget.left -= used
      missing -= used
      const { reason } = budget.notice
      explained.set(reason, (explained.get(reason) ?? 0) + used)
    }
    return explained
  }
}

function keyOf({ gateway, epoch, stream }: Pick<GapNotice, 'gateway' | 'epoch' | 'stream'>) {
  return JSON.stringify([gateway, epoch, stream])
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (thrown) {
    // Anything may begin with these seven bytes.
    if (thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= NAME_CHARACTERS_MAX
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
