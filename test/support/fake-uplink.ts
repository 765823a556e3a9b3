/**
 * An upstream in memory behind the port `Uplink`: it answers in the next loop turn, and does what
 * tests want of a broker that misbehaves.
 */
import type {
  CloseReason,
  InboundMessage,
  OutboundMessage,
  PublishWaiter,
  Uplink,
  UplinkConnection,
  UplinkEvents,
} from '../../src/bridge/uplink.ts'

export interface Arrived {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly userProperties: readonly (readonly [string, string])[]
  /** Which connection brought it, from 1. */
  readonly connection: number
}

export class FakeUpstream implements Uplink {
  /** All that was sent to it, in order. */
  readonly arrived: Arrived[] = []
  /** What of it was acknowledged: the rest may as well have been lost on the way. */
  readonly acknowledged: Arrived[] = []
  connections = 0
  receiveMaximum = 65_535
  packetBytesMax = 268_435_460
  hasProperties = true
  /** Takes messages and never says so. */
  holdsAcks = false
  /** Answers each CONNECT with this. */
  refusal: CloseReason | undefined
  /** The reason code for a message; 0 takes it. */
  answer: (message: Arrived) => number = () => 0
  /** Sockets take this many bytes and no more. */
  socketBytesMax = Number.POSITIVE_INFINITY
  subscribed: string[] = []
  current: FakeConnection | undefined

  connect(events: UplinkEvents): UplinkConnection {
    this.connections++
    const connection = new FakeConnection(this, events, this.connections)
    this.current = connection
    return connection
  }

  /** Cuts the connection that is open. */
  cut(sentence = 'broke the connection'): void {
    this.current?.close({ kind: 'lost', sentence })
  }

  /** Sends a message down; resolves once it was taken. */
  send(message: Partial<InboundMessage> & { topic: string }): Promise<void> {
    return new Promise((resolve) => {
      this.current?.events.message(
        {
          payload: Buffer.alloc(0),
          qos: 1,
          retain: false,
          userProperties: [],
          expiryS: undefined,
          ...message,
        },
        resolve,
      )
    })
  }
}

export class FakeConnection implements UplinkConnection {
  readonly events: UplinkEvents
  private readonly upstream: FakeUpstream
  private readonly number: number
  private readonly waiting: {
    waiter: PublishWaiter
    reason: number
    qos: number
    arrived: Arrived
  }[] = []
  private unsent = 0
  private isUp = false
  private isClosed = false
  private lacked = false
  private answering = false

  constructor(upstream: FakeUpstream, events: UplinkEvents, number: number) {
    this.upstream = upstream
    this.events = events
    this.number = number
    setImmediate(() => {
      if (this.isClosed) return
      if (upstream.refusal !== undefined) {
        this.end(upstream.refusal)
        return
      }
      this.isUp = true
      events.connected({ sessionPresent: number > 1 })
    })
  }

  get hasProperties(): boolean {
    return this.upstream.hasProperties
  }

  get packetBytesMax(): number {
    return this.upstream.packetBytesMax
  }

  get inflightMax(): number {
    return this.upstream.receiveMaximum
  }

  get inflight(): number {
    return this.waiting.filter(({ qos }) => qos > 0).length
  }

  get hasRoom(): boolean {
    const has =
      this.isUp &&
      !this.isClosed &&
      this.inflight < this.inflightMax &&
      this.unsent < this.upstream.socketBytesMax
    if (!has) this.lacked = true
    return has
  }

  sizeOf({ topic, payload, extraEnd, properties }: OutboundMessage): number {
    return 9 + topic.length + payload.length + extraEnd + properties.length
  }

  publish(message: OutboundMessage, waiter: PublishWaiter): void {
    if (!this.hasRoom) throw new Error('published without room')
    const { topic, payload, qos, retain, extra, extraEnd } = message
    this.unsent += this.sizeOf(message)
    const arrived: Arrived = {
      topic: Buffer.from(topic).toString(),
      payload: Buffer.from(payload),
      qos,
      retain,
      userProperties: userPropertiesIn(Buffer.from(extra.subarray(0, extraEnd))),
      connection: this.number,
    }
    this.upstream.arrived.push(arrived)
    this.waiting.push({ waiter, reason: this.upstream.answer(arrived), qos, arrived })
    this.answerSoon()
  }

  flush(): void {
    this.answerSoon()
  }

  /** Acknowledges the oldest `count` messages; all without it. */
  ack(count = this.waiting.length): void {
    for (const { waiter, reason, arrived } of this.waiting.splice(0, count)) {
      if (this.isClosed) continue
      this.upstream.acknowledged.push(arrived)
      waiter.settled(reason)
    }
    this.unsent = 0
    if (this.lacked && this.hasRoom) {
      this.lacked = false
      this.events.roomy()
    }
  }

  /** Acknowledges one message, not always the oldest. */
  ackOne(pick: (count: number) => number): void {
    if (this.isClosed || this.waiting.length === 0) return
    const [one] = this.waiting.splice(pick(this.waiting.length), 1)
    if (one === undefined) return
    this.upstream.acknowledged.push(one.arrived)
    one.waiter.settled(one.reason)
    this.unsent = 0
    if (this.lacked && this.hasRoom) {
      this.lacked = false
      this.events.roomy()
    }
  }

  async subscribe(filters: readonly string[]): Promise<void> {
    this.upstream.subscribed.push(...filters)
  }

  async unsubscribe(filters: readonly string[]): Promise<void> {
    this.upstream.subscribed = this.upstream.subscribed.filter((one) => !filters.includes(one))
  }

  close(reason: CloseReason): void {
    setImmediate(() => this.end(reason))
  }

  private answerSoon(): void {
    if (this.answering || this.upstream.holdsAcks) return
    this.answering = true
    setImmediate(() => {
      this.answering = false
      if (!this.isClosed && !this.upstream.holdsAcks) this.ack()
    })
  }

  private end(reason: CloseReason): void {
    if (this.isClosed) return
    this.isClosed = true
    this.waiting.length = 0
    this.events.closed(reason)
  }
}

function userPropertiesIn(block: Buffer): [string, string][] {
  const pairs: [string, string][] = []
  let at = 0
  const text = (): string => {
    const end = at + 2 + block.readUInt16BE(at)
    const found = block.toString('utf8', at + 2, end)
    at = end
    return found
  }
  while (at < block.length) {
    if (block[at++] !== 38) throw new Error('a bridge adds user properties only')
    pairs.push([text(), text()])
  }
  return pairs
}
