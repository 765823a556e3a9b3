/** How a device writes a reading down. */
import { Encoder } from 'cbor-x'
import type { ReadingId } from './reading-id.ts'
import { senmlCbor, senmlJson } from './senml.ts'

export const encodingNames = ['cbor', 'senml-json', 'senml-cbor'] as const
export type EncodingName = (typeof encodingNames)[number]

export type Values = Readonly<Record<string, number | string | boolean | Uint8Array>>

export interface Measured {
  /** What the device's clock says, ms since 1970; undefined: it has none. */
  readonly timeMs: number | undefined
  /** Since the power-up, which every device can count. */
  readonly upMs: number
  readonly values: Values
}

export interface Encoded {
  /** Of an MQTT 5 PUBLISH. */
  readonly contentType: string
  readonly payload: Buffer
}

const encoder = new Encoder({ useRecords: false, tagUint8Array: false })

/** A map: the id, `t` or (without a clock) `up`, and the values. */
function plainCbor({ device, boot, seq }: ReadingId, { timeMs, upMs, values }: Measured): Encoded {
  const when = timeMs === undefined ? { up: Math.floor(upMs) } : { t: Math.floor(timeMs) }
  const payload = encoder.encode({ device, boot, seq, ...when, ...values })
  return { contentType: 'application/cbor', payload }
}

const encodings = { cbor: plainCbor, 'senml-json': senmlJson, 'senml-cbor': senmlCbor } as const

export function encodeReading(name: EncodingName, id: ReadingId, measured: Measured): Encoded {
  return encodings[name](id, measured)
}
