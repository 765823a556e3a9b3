/** What the gateway's `tail` prints, and whether every acknowledged message is in it. */
import { decode } from 'cbor-x'
import { messageKey } from '../fleet.ts'

export interface LoggedRecord {
  readonly position: number
  readonly topic: string
  /** What tells the message from others; undefined when it is none of a simulated device. */
  readonly key: string | undefined
  readonly values: Readonly<Record<string, unknown>>
}

/** One line of `tail --format json`; undefined when it is no such line. */
export function parseLogged(line: string): LoggedRecord | undefined {
  const { position, topic, payload, payload_base64: encoded } = objectOf(parseJson(line)) ?? {}
  if (typeof position !== 'number' || typeof topic !== 'string') return
  const values = objectOf(typeof encoded === 'string' ? parseCbor(encoded) : payload) ?? {}
  const { device, boot, seq } = values
  const ours = typeof device === 'string' && typeof boot === 'number' && typeof seq === 'number'
  return { position, topic, key: ours ? messageKey(topic, device, boot, seq) : undefined, values }
}

/** Compares the log with what was acknowledged. Lines come one by one, in the log's order. */
export class LogCheck {
  private readonly missingKeys: Set<string>
  private readonly seen = new Set<string>()
  private recordCount = 0
  private repeatCount = 0
  private unreadableCount = 0

  constructor(acknowledged: Iterable<string>) {
    this.missingKeys = new Set(acknowledged)
  }

  line(line: string): void {
    const record = parseLogged(line)
    if (record === undefined) {
      this.unreadableCount += 1
      return
    }
    this.recordCount += 1
    if (record.key === undefined) return
    if (this.seen.has(record.key)) this.repeatCount += 1
    this.seen.add(record.key)
    this.missingKeys.delete(record.key)
  }

  /** Records in the log. */
  get logged(): number {
    return this.recordCount
  }

  /**
   * Messages that are in the log more than once: allowed after a reconnect, so they are only told.
   */
  get repeated(): number {
    return this.repeatCount
  }

  get unreadable(): number {
    return this.unreadableCount
  }

  /** Acknowledged messages that are not in the log. */
  missing(): string[] {
    return [...this.missingKeys]
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function parseCbor(base64: string): unknown {
  try {
    return decode(Buffer.from(base64, 'base64'))
  } catch (error) {
    // A payload of somebody else's may be anything; only what is no error at all is thrown on.
    if (error instanceof Error) return undefined
    throw error
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined
}
