/**
 * A will and where it stands, as a document of the state: JSON behind its length (u32,
 * little-endian), then the will as a whole PUBLISH packet. The key is a number of its own for each
 * connection, because a client that is taken over has two wills for a moment.
 */

export const WILL_KIND = 'will'

export interface Will {
  /** A PUBLISH packet of `version`, without the delay. */
  readonly packet: Uint8Array
  readonly version: number
  /** How long it waits once the connection has ended: never longer than the session lives. */
  readonly delayS: number
}

export type WillState =
  /** Its client is connected, or was when the gateway died. */
  | { readonly kind: 'armed' }
  /** The connection has ended; due at this wall time. */
  | { readonly kind: 'waiting'; readonly dueMs: number }
  /** Appended at or behind this position, unless the gateway died just before. */
  | { readonly kind: 'publishing'; readonly stream: string; readonly from: number }

export interface WillDocument {
  readonly clientId: string
  readonly will: Will
  readonly state: WillState
}

export function encodeWill({ clientId, will, state }: WillDocument): Uint8Array {
  const { version, delayS, packet } = will
  const head = Buffer.from(JSON.stringify({ clientId, version, delayS, state }))
  const bytes = Buffer.alloc(4 + head.length + packet.length)
  bytes.writeUInt32LE(head.length)
  bytes.set(head, 4)
  bytes.set(packet, 4 + head.length)
  return bytes
}

/** Undefined when the document is none of ours. */
export function decodeWill(value: Uint8Array): WillDocument | undefined {
  const bytes = Buffer.from(value)
  const headEnd = bytes.length < 4 ? 0 : 4 + bytes.readUInt32LE(0)
  if (headEnd === 0 || headEnd > bytes.length) return undefined
  const head = parsed(bytes.toString('utf8', 4, headEnd))
  if (head === undefined) return undefined
  const { clientId, version, delayS } = head
  const state = stateOf(head.state)
  if (typeof clientId !== 'string' || state === undefined) return undefined
  if (typeof version !== 'number' || typeof delayS !== 'number') return undefined
  return { clientId, will: { packet: bytes.subarray(headEnd), version, delayS }, state }
}

interface Head {
  readonly clientId?: unknown
  readonly version?: unknown
  readonly delayS?: unknown
  readonly state?: unknown
}

function parsed(text: string): Head | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function stateOf(value: unknown): WillState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, dueMs, stream, from } = value as Readonly<Record<string, unknown>>
  if (kind === 'armed') return { kind }
  if (kind === 'waiting' && typeof dueMs === 'number') return { kind, dueMs }
  const isPlace = typeof stream === 'string' && typeof from === 'number'
  return kind === 'publishing' && isPlace ? { kind, stream, from } : undefined
}
