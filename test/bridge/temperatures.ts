/** The records by which batches are measured: what a greenhouse full of sensors sends in CBOR. */
import { encode } from 'cbor-x'
import type { LogRecord } from '../../src/log/log.ts'
import { record } from '../support/record.ts'

const SENSORS = 20
const PARTITIONS = 4

/** One reading a second and sensor, a little apart; `{ t, rh, seq }` each with its time. */
export function temperatureRecords(count: number, from = 0): LogRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const n = from + index
    const sensor = n % SENSORS
    const round = Math.floor(n / SENSORS)
    const timeMs = Date.UTC(2026, 0, 31, 8) + round * 1000 + sensor * 37 + ((n * 7919) % 23)
    const temperature = Math.round((20 + 4 * Math.sin(n / 57) + sensor / 10) * 100) / 100
    return record({
      stream: 'telemetry',
      topic: `devices/sensor-${String(sensor).padStart(3, '0')}/telemetry/temp`,
      client: `sensor-${String(sensor).padStart(3, '0')}`,
      partition: sensor % PARTITIONS,
      offset: 1_000_000 + round * (SENSORS / PARTITIONS) + Math.floor(sensor / PARTITIONS),
      timeMs,
      payload: encode({ ts: Math.floor(timeMs / 1000), t: temperature, seq: round }),
    })
  })
}

/**
 * What they take as single MQTT 3.1.1 PUBLISHes at QoS 1 with nothing around the payload: the
 * least that can be sent, so that nothing is won by comparing with properties. TCP not counted.
 */
export function plainPublishBytes(records: readonly LogRecord[]): number {
  return records.reduce((sum, { topic, payload }) => {
    const rest = 2 + Buffer.byteLength(`sites/gw-1/${topic}`) + 2 + payload.length
    return sum + 1 + (rest < 128 ? 1 : 2) + rest
  }, 0)
}
