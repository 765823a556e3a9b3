/** The pure part of the case `flash`: from bytes to a day, and its table. */
import { alignColumns, formatNumber } from './table.ts'

export interface FlashReading {
  readonly variant: string
  /** Messages per second. */
  readonly rate: number
  /** Acknowledged. */
  readonly messages: number
  readonly payloadBytes: number
  /** What the broker's process wrote because of these messages. */
  readonly writtenBytes: number
  /** What the broker writes when it is ended without messages; not in `writtenBytes`. */
  readonly stopBytes: number
  /** What the whole disk wrote meanwhile; null where it could not be seen. */
  readonly diskBytes: number | null
}

const DAY_SECONDS = 86_400
const MB = 1e6

/** Device bytes for each byte of payload; NaN when nothing was acknowledged. */
export function writeFactor({ writtenBytes, payloadBytes }: FlashReading): number {
  return payloadBytes > 0 ? writtenBytes / payloadBytes : Number.NaN
}

/** Of a day at the rate, in MB (10^6 bytes), whatever the reading's own length. */
export function megabytesPerDay(reading: FlashReading): number {
  const { rate, messages, writtenBytes } = reading
  return messages > 0 ? ((writtenBytes / messages) * rate * DAY_SECONDS) / MB : Number.NaN
}

/** One line for each variant and rate. */
export function renderFlash(readings: readonly FlashReading[]): string {
  const lines: string[][] = [['', 'messages/s', 'messages', 'bytes/byte', 'MB/day', 'whole disk']]
  let variant: string | undefined
  for (const reading of readings) {
    if (reading.variant !== variant) {
      const kb = formatNumber(reading.stopBytes / 1000)
      lines.push([`${reading.variant} (a stop alone writes ${kb} KB, taken out)`])
    }
    variant = reading.variant
    const disk = reading.diskBytes === null ? Number.NaN : reading.diskBytes
    lines.push([
      '',
      reading.rate.toLocaleString('en-US'),
      reading.messages.toLocaleString('en-US'),
      formatNumber(writeFactor(reading)),
      formatNumber(megabytesPerDay(reading)),
      formatNumber(disk / reading.payloadBytes),
    ])
  }
  return [
    'What reaches the device, 256 B payload, QoS 1, one QoS 1 session away [flash]',
    alignColumns(lines),
  ].join('\n')
}
