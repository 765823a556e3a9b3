/**
 * SenML packs (RFC 8428), as JSON and as CBOR.
 *
 * The base name is `urn:dev:ops:<device>:`; the first record carries it with the base time. The
 * id of the reading is two records more, `boot` and `seq`: SenML has no field for it, and a
 * receiver that knows nothing of it sees two counters (unit "count").
 *
 * A device without a clock gives no base time. RFC 8428, 4.5.3 then reads the time as "about now",
 * which is all such a device can say.
 */
import { Encoder } from 'cbor-x'
import type { Encoded, Measured } from './encodings.ts'
import type { ReadingId } from './reading-id.ts'

/** RFC 8428, table 4: the labels of the fields in CBOR. */
const label = { bn: -2, bt: -3, n: 0, u: 1, v: 2, vs: 3, vb: 4, vd: 8 } as const
type Field = keyof typeof label
type SenmlRecord = Partial<Record<Field, unknown>>

const prefix = 'urn:dev:ops:'
/** RFC 8428, table 2 and RFC 8798; quantities without one are left out, which SenML allows. */
const units = new Map([
  ['temperature', 'Cel'],
  ['humidity', '%RH'],
  ['battery', '%EL'],
  ['rssi', 'dBW'],
  ['power', 'W'],
  ['energy', 'Wh'],
  ['voltage', 'V'],
  ['lat', 'lat'],
  ['lon', 'lon'],
  ['speed', 'm/s'],
  ['boot', 'count'],
  ['seq', 'count'],
])
// cbor-x's own record extension is no SenML.
const encoder = new Encoder({ mapsAsObjects: false, useRecords: false })

export function senmlJson(id: ReadingId, measured: Measured): Encoded {
  const pack = packOf(id, measured, (bytes) => Buffer.from(bytes).toString('base64url'))
  return { contentType: 'application/senml+json', payload: Buffer.from(JSON.stringify(pack)) }
}

export function senmlCbor(id: ReadingId, measured: Measured): Encoded {
  const pack = packOf(id, measured, (bytes) => bytes).map(
    (record) =>
      new Map(Object.entries(record).map(([field, value]) => [label[field as Field], value])),
  )
  return { contentType: 'application/senml+cbor', payload: encoder.encode(pack) }
}

/** The id in a decoded pack, whose fields are names or labels, of objects or Maps. */
export function idFromSenml(pack: readonly unknown[]): ReadingId | undefined {
  let device: string | undefined
  let boot: unknown
  let seq: unknown
  for (const record of pack) {
    const base = fieldOf(record, 'bn')
    if (typeof base === 'string' && base.startsWith(prefix) && base.endsWith(':')) {
      device = base.slice(prefix.length, -1)
    }
    const name = fieldOf(record, 'n')
    if (name === 'boot') boot = fieldOf(record, 'v')
    if (name === 'seq') seq = fieldOf(record, 'v')
  }
  if (device === undefined || !Number.isSafeInteger(boot) || !Number.isSafeInteger(seq)) return
  return { device, boot: boot as number, seq: seq as number }
}

function packOf(
  { device, boot, seq }: ReadingId,
  { timeMs, values }: Measured,
  data: (bytes: Uint8Array) => unknown,
): SenmlRecord[] {
  const records = Object.entries({ boot, seq, ...values }).map(([name, value]): SenmlRecord => {
    const unit = units.get(name)
    const head = { n: name, ...(unit && { u: unit }) }
    if (typeof value === 'number') return { ...head, v: value }
    if (typeof value === 'string') return { ...head, vs: value }
    if (typeof value === 'boolean') return { ...head, vb: value }
    return { ...head, vd: data(value) }
  })
  const base = { bn: `${prefix}${device}:`, ...(timeMs !== undefined && { bt: timeMs / 1000 }) }
  const [first, ...rest] = records
  return [{ ...base, ...first }, ...rest]
}

function fieldOf(record: unknown, field: 'bn' | 'n' | 'v'): unknown {
  const key = label[field]
  if (record instanceof Map) return record.get(field) ?? record.get(key)
  if (typeof record !== 'object' || record === null) return undefined
  const fields = new Map(Object.entries(record))
  return fields.get(field) ?? fields.get(String(key))
}
