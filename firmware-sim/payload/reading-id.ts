/** What tells one reading from every other one, in whatever it was encoded. */
import { Decoder } from 'cbor-x'
import { idFromSenml } from './senml.ts'

export interface ReadingId {
  readonly device: string
  /** Rises with each power-up of the device; the first of a run is the run's start in ms. */
  readonly boot: number
  /** Dense from 0 within a boot, over all topics of the device. */
  readonly seq: number
}

const decoder = new Decoder({ mapsAsObjects: false, useRecords: false })

/** The id of a reading that was decoded already: an object, a Map or a SenML pack. */
export function idOfValue(value: unknown): ReadingId | undefined {
  if (Array.isArray(value)) return idFromSenml(value)
  const device = fieldOf(value, 'device')
  const boot = fieldOf(value, 'boot')
  const seq = fieldOf(value, 'seq')
  const isReading =
    typeof device === 'string' && Number.isSafeInteger(boot) && Number.isSafeInteger(seq)
  return isReading ? { device, boot: boot as number, seq: seq as number } : undefined
}

/** The id of a reading in its payload, CBOR or JSON; undefined for anything else. */
export function idOfPayload(payload: Uint8Array): ReadingId | undefined {
  const first = payload[0]
  if (first === undefined) return undefined
  try {
    const isJson = first === 0x7b || first === 0x5b
    const value: unknown = isJson
      ? JSON.parse(Buffer.from(payload).toString('utf8'))
      : decoder.decode(payload)
    return idOfValue(value)
  } catch (error) {
    // Somebody else's payload may be anything. What it throws at a decoder is always an Error.
    if (error instanceof Error) return undefined
    throw error
  }
}

function fieldOf(value: unknown, name: string): unknown {
  if (value instanceof Map) return value.get(name)
  if (typeof value !== 'object' || value === null) return undefined
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}
