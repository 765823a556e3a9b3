/**
 * Publishers that number their messages and note what was acknowledged: what they noted must be in
 * the log, whatever happens to the gateway.
 */
import { RawClient } from '../support/raw-client.ts'

/** One message: which publisher, its how many-eth. Padding may follow it. */
export interface Sent {
  readonly publisher: string
  readonly sequence: number
}

const WINDOW = 50

/** What a payload says, its padding left out. */
export function sentIn(payload: Uint8Array): Sent {
  const text = Buffer.from(payload).toString()
  return JSON.parse(text.slice(0, text.indexOf('}') + 1)) as Sent
}

export class NumberedPublisher {
  readonly name: string
  /** Highest sequence number sent, and all that were acknowledged. */
  sent = 0
  readonly acknowledged = new Set<number>()
  private readonly topic: string
  private readonly qos: 1 | 2
  private client: RawClient | undefined
  private inflight = new Map<number, number>()
  private nextId = 0
  private finishing = false
  private padding = ''

  constructor(name: string, topic: string, qos: 1 | 2) {
    this.name = name
    this.topic = topic
    this.qos = qos
  }

  /** From now on each message has so many bytes more. */
  pad(paddingBytes: number): void {
    this.padding = 'x'.repeat(paddingBytes)
  }

  /** Publishes as fast as its window lets it, until the connection ends. Sends nothing twice. */
  async run(port: number): Promise<void> {
    const client = await RawClient.open(port)
    this.client = client
    this.inflight = new Map()
    client.socket.on('data', () => this.work())
    client.send(client.connectPacket({ clientId: this.name }))
    await client.closing()
  }

  /** Publishes nothing more; acks of what it sent are still noted. */
  finish(): void {
    this.finishing = true
  }

  stop(): void {
    this.client?.end()
  }

  private work(): void {
    const client = this.client as RawClient
    for (const packet of client.received.splice(0)) {
      if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec') continue
      const id = packet.messageId ?? 0
      this.acknowledged.add(this.inflight.get(id) ?? -1)
      this.inflight.delete(id)
      if (packet.cmd === 'pubrec') client.send({ cmd: 'pubrel', messageId: id })
    }
    while (this.inflight.size < WINDOW && !client.closed && !this.finishing) {
      this.publish(client)
    }
  }

  private publish(client: RawClient): void {
    do this.nextId = (this.nextId % 65_535) + 1
    while (this.inflight.has(this.nextId))
    const sequence = ++this.sent
    this.inflight.set(this.nextId, sequence)
    const message: Sent = { publisher: this.name, sequence }
    const payload = JSON.stringify(message) + this.padding
    client.publish(this.topic, payload, { qos: this.qos, messageId: this.nextId })
  }
}
