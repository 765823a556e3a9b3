/**
 * How sessions are written down, as CBOR arrays, in two documents each, because they change at
 * different times: what was agreed on, with each SUBSCRIBE; and how far it has come, with each
 * batch of QoS 2 messages and every few seconds.
 *
 *   session        [1, expiryS, [[filter, options, id, [[stream, position], …] | 0], …], owner | 0]
 *   session-place  [1, left | 0, lastPacketId, [[stream, next], …],
 *                   [[packetId, awaited, isRetained, stream, position], …], timeMs]
 *   owner          its user; 0, or not there: nobody's
 *   left           [boot, monotonicUs, timeMs]; 0: connected
 */
import { Encoder } from 'cbor-x'
import { asPosition, type Position, type QoS } from '../../log/log.ts'
import type { OwnFilter } from '../delivery/filters.ts'
import type { Awaited, StoredEntry } from '../delivery/window.ts'
import type { Moment, Session } from './session.ts'

export const SESSION_KIND = 'session'
export const PLACE_KIND = 'session-place'

const FORMAT = 1
const cbor = new Encoder({ useRecords: false, mapsAsObjects: false })
const awaiteds: readonly Awaited[] = ['puback', 'pubrec', 'pubcomp', 'nothing']

type Pair = readonly [string, number]

export interface StoredSession {
  readonly expiryS: number
  readonly filters: readonly OwnFilter[]
  readonly owner: string | undefined
}

export interface StoredPlace {
  readonly left: Moment | undefined
  readonly lastPacketId: number
  readonly next: ReadonlyMap<string, Position>
  readonly entries: readonly StoredEntry[]
  /** Wall time of the writing. */
  readonly timeMs: number
}

export function encodeSession({ expiryS, filters, owner }: Session): Uint8Array {
  const rows = [...filters.list()].map(({ subscription, since }) => {
    const { filter, qos, noLocal, retainAsPublished, id } = subscription
    const options = qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0)
    return [filter, options, id ?? 0, since === undefined ? 0 : [...since]]
  })
  return owned(cbor.encode([FORMAT, expiryS, rows, owner ?? 0]))
}

/** Throws when the bytes are none of ours. */
export function decodeSession(bytes: Uint8Array): StoredSession {
  const [format, expiryS, rows, owner] = cbor.decode(bytes) as [
    number,
    number,
    [string, number, number, readonly Pair[] | 0][],
    string | 0 | undefined,
  ]
  checkFormat(format)
  const filters = rows.map(
    ([filter, options, id, since]): OwnFilter => ({
      subscription: {
        filter,
        qos: (options & 3) as QoS,
        noLocal: (options & 4) !== 0,
        retainAsPublished: (options & 8) !== 0,
        id: id === 0 ? undefined : id,
      },
      since: since === 0 ? undefined : positions(since),
    }),
  )
  return { expiryS, filters, owner: typeof owner === 'string' ? owner : undefined }
}

export function encodePlace({ left, window, next }: Session, timeMs: number): Uint8Array {
  const entries: unknown[] = []
  for (const { packetId, awaited, isRetained, stream, position, settled } of window.entries()) {
    // What others gave is theirs to give again; only its identifier is remembered.
    const isOwn = settled === undefined && stream !== ''
    const kept = isOwn || awaited === 'pubcomp' ? awaited : awaited === 'pubrec' ? 'nothing' : ''
    if (kept === '') continue
    entries.push([packetId, awaiteds.indexOf(kept), isRetained, stream, position])
  }
  const since = left === undefined ? 0 : [left.boot, left.monotonicUs, left.timeMs]
  return owned(cbor.encode([FORMAT, since, window.lastPacketId, [...next], entries, timeMs]))
}

/** Throws when the bytes are none of ours. */
export function decodePlace(bytes: Uint8Array): StoredPlace {
  const [format, left, lastPacketId, next, entries, timeMs] = cbor.decode(bytes) as [
    number,
    [number, number, number] | 0,
    number,
    readonly Pair[],
    readonly [number, number, boolean, string, number][],
    number,
  ]
  checkFormat(format)
  return {
    left: left === 0 ? undefined : { boot: left[0], monotonicUs: left[1], timeMs: left[2] },
    lastPacketId,
    next: positions(next),
    entries: entries.map(([packetId, awaited, isRetained, stream, position]) => ({
      packetId,
      awaited: awaiteds[awaited] as Awaited,
      isRetained,
      stream,
      position: asPosition(position),
    })),
    timeMs,
  }
}

/** A copy of its own: the encoder hands out views on a buffer that it goes on filling. */
export function owned(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes)
}

export function positions(pairs: readonly Pair[]): Map<string, Position> {
  return new Map(pairs.map(([stream, position]) => [stream, asPosition(position)]))
}

function checkFormat(format: unknown): void {
  if (format !== FORMAT) throw new TypeError(`format ${String(format)} of a session is not known`)
}
