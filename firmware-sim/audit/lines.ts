/**
 * Lines of JSON as `sluice tail --format json`, the HTTP interface, `mosquitto_sub -F` and most
 * consumers write them: a topic, and the payload as `payload` (decoded, or as text),
 * `payload_base64` or `payload_hex`.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { idOfPayload, idOfValue, type ReadingId } from '../payload/reading-id.ts'
import type { Sighting } from './seen.ts'

export type Line =
  | { readonly kind: 'reading'; readonly sighting: Sighting }
  /** A message of somebody else. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'unreadable' }

export function parseLine(line: string): Line {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    if (error instanceof SyntaxError) return { kind: 'unreadable' }
    throw error
  }
  return lineOf(value)
}

/** As `parseLine`, of what was parsed already. */
export function lineOf(value: unknown): Line {
  if (typeof value !== 'object' || value === null) return { kind: 'unreadable' }
  const fields = new Map<string, unknown>(Object.entries(value))
  const topic = fields.get('topic')
  if (typeof topic !== 'string') return { kind: 'unreadable' }
  const id = idOf(fields)
  return id === undefined ? { kind: 'foreign' } : { kind: 'reading', sighting: { id, topic } }
}

function idOf(fields: ReadonlyMap<string, unknown>): ReadingId | undefined {
  const base64 = fields.get('payload_base64')
  if (typeof base64 === 'string') return idOfPayload(Buffer.from(base64, 'base64'))
  const hex = fields.get('payload_hex')
  if (typeof hex === 'string') return idOfPayload(Buffer.from(hex, 'hex'))
  const payload = fields.get('payload')
  if (typeof payload !== 'string') return idOfValue(payload)
  const encoding = fields.get('encoding') === 'base64' ? 'base64' : 'utf8'
  return idOfPayload(Buffer.from(payload, encoding))
}

/** The lines of a file, one at a time. Throws the system's error when it cannot be read. */
export async function* linesOf(file: string): AsyncGenerator<string> {
  const input = createReadStream(file, 'utf8')
  let failure: Error | undefined
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  // readline does not pass on its input's errors in all the versions of Node this runs on.
  input.once('error', (error) => {
    failure = error
    lines.close()
  })
  yield* lines
  if (failure !== undefined) throw failure
}
