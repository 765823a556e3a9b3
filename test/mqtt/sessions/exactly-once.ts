/**
 * A client that keeps to QoS 2 whatever happens to its connection: what it has sent is sent again
 * as the standard says, and what it receives is counted once for each handshake.
 */
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { RawClient } from '../../support/raw-client.ts'

const IN_FLIGHT_MAX = 20

export class ExactlyOnce {
  readonly clientId: string
  /** Payloads, each once for each handshake that began. */
  readonly taken: string[] = []
  completed = 0
  private readonly version: 4 | 5
  private readonly topic: string
  private readonly inFlight = new Map<number, { payload: string; isReceived: boolean }>()
  private readonly begun = new Set<number>()
  private client: RawClient | undefined
  private handled = 0
  private lastId = 0
  private next = 0
  private end = 0

  constructor(clientId: string, version: 4 | 5, topic: string) {
    this.clientId = clientId
    this.version = version
    this.topic = topic
  }

  /** Connects; a session that was there must be there. Throws when it is not. */
  async connect(port: number, isFirst: boolean): Promise<void> {
    this.client?.end()
    const properties = this.version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}
    const options = { clientId: this.clientId, version: this.version, clean: false, acks: false }
    const client = await RawClient.connect(port, { ...options, ...properties })
    if (client.of('connack')[0]?.sessionPresent === isFirst) {
      throw new Error(`session present is ${!isFirst ? 'not said' : 'said'}`)
    }
    this.client = client
    this.handled = 0
    for (const [messageId, { payload, isReceived }] of this.inFlight) {
      if (isReceived) client.send({ cmd: 'pubrel', messageId } as Packet)
      else client.publish(this.topic, payload, { qos: 2, messageId, dup: true })
    }
    client.socket.on('data', () => this.handle(client))
    this.handle(client)
  }

  async subscribe(): Promise<void> {
    await this.client?.subscribe(this.topic, 2)
  }

  /** Publishes up to the number `end`, as far as may be in flight; the rest follows. */
  publish(end: number): void {
    this.end = end
    const { client } = this
    if (client === undefined) return
    while (this.next < this.end && this.inFlight.size < IN_FLIGHT_MAX) {
      this.lastId = (this.lastId % 200) + 1
      if (this.inFlight.has(this.lastId)) continue
      const payload = String(this.next++)
      this.inFlight.set(this.lastId, { payload, isReceived: false })
      client.publish(this.topic, payload, { qos: 2, messageId: this.lastId })
    }
  }

  /** Sends nothing new any more; how many messages it has sent. */
  finish(): number {
    this.end = this.next
    return this.end
  }

  close(): void {
    this.client?.end()
  }

  private handle(client: RawClient): void {
    if (client !== this.client) return
    for (; this.handled < client.received.length; this.handled++) {
      this.take(client, client.received[this.handled] as Packet)
    }
    this.publish(this.end)
  }

  private take(client: RawClient, packet: Packet): void {
    const messageId = packet.messageId ?? 0
    if (packet.cmd === 'pubrec') {
      const sent = this.inFlight.get(messageId)
      if (sent !== undefined) sent.isReceived = true
      client.send({ cmd: 'pubrel', messageId } as Packet)
    } else if (packet.cmd === 'pubcomp') {
      if (this.inFlight.delete(messageId)) this.completed++
    } else if (packet.cmd === 'publish') {
      if (!this.begun.has(messageId)) this.taken.push((packet as IPublishPacket).payload.toString())
      this.begun.add(messageId)
      client.send({ cmd: 'pubrec', messageId } as Packet)
    } else if (packet.cmd === 'pubrel') {
      this.begun.delete(messageId)
      client.send({ cmd: 'pubcomp', messageId } as Packet)
    }
  }
}
