/**
 * One constrained device: it measures, remembers what its memory holds, and sends when its radio
 * has a network.
 *
 * N1. A reading is numbered when it is measured: dense from 0 from each power-up, over all topics.
 * N2. At QoS 1 and 2 a reading stays in memory until it is acknowledged. After a reconnect what
 *     was under way is sent first, in its order, with the same packet identifiers and DUP where
 *     the broker kept the session [MQTT-4.4.0-1], else as new messages.
 * N3. At most `windowMost` readings are under way, fewer where the broker allows fewer
 *     [MQTT-3.3.4-9].
 * N4. A brown-out takes the memory, the packet identifiers and the connection. The device comes
 *     back with the next boot number, and connects with a clean session: to reuse identifiers in a
 *     session the broker still knows would have it take new readings for repeated ones.
 */
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet'
import { Backoff } from '../backoff.ts'
import type { BrokerAddress } from '../device.ts'
import type { Account, Ledger } from '../ledger.ts'
import type { LinkWatch } from '../link.ts'
import { encodeReading } from '../payload/encodings.ts'
import type { Agenda } from './agenda.ts'
import { Client } from './client.ts'
import { answerTo, connectOf, subscribeToCommands } from './packets.ts'
import type { Profile } from './profiles.ts'
import { Ram, type Stored } from './ram.ts'
import { Rtc } from './rtc.ts'
import type { Tally } from './tally.ts'

export interface NodeContext {
  readonly agenda: Agenda
  readonly broker: BrokerAddress
  readonly seed: number
  /** Boot number of the first power-up of all devices. */
  readonly boot: number
  readonly ledger: Ledger
  readonly link: LinkWatch
  /** Fractions of [0, 1): jitter of reconnects. */
  readonly random: () => number
  /** Real milliseconds, for latencies. */
  readonly realMs: () => number
}

interface UnderWay {
  readonly id: number
  readonly stored: Stored
  readonly sentMs: number
  /** QoS 2: PUBREC has come, the identifier waits for PUBCOMP. */
  released: boolean
}

const windowMost = 16
/** A device that lost its power is back after 2 to 32 s. */
const brownOutMs = { least: 2_000, more: 30_000 } as const

export class Node {
  readonly name: string
  readonly profile: Profile
  readonly tally: Tally
  private readonly number: number
  private readonly context: NodeContext
  private readonly ram: Ram
  private readonly rtc: Rtc
  private readonly backoff: Backoff
  private account: Account
  private bootedMs: number
  private seq = 0
  private client: Client | undefined
  private online = false
  private underWay = new Map<number, UnderWay>()
  private nextId = 0
  private window = windowMost
  private powered = true
  private jammedUntilMs = 0
  private forgetSession = false
  /** No measurement any more; the radio stays on until the memory is empty. */
  private draining = false
  private closed = false
  private connecting = false

  constructor(name: string, number: number, profile: Profile, tally: Tally, context: NodeContext) {
    this.name = name
    this.number = number
    this.profile = profile
    this.tally = tally
    this.context = context
    this.ram = new Ram(profile.ramBytes, profile.drop)
    this.bootedMs = context.agenda.nowMs
    this.rtc = new Rtc(profile.clock, context.seed, number, this.bootedMs)
    this.backoff = new Backoff(context.random)
    this.account = context.ledger.account(name, context.boot)
  }

  get isOnline(): boolean {
    return this.online
  }

  /** Readings in memory that are not acknowledged. */
  get pending(): number {
    return this.ram.waiting + this.underWay.size
  }

  /** How full its memory is, in [0, 1]. */
  get fullness(): number {
    return this.ram.sizeBytes / this.ram.budgetBytes
  }

  /** Measures from `phase` (a fraction of its period) on. */
  start(phase: number): void {
    const { agenda } = this.context
    const { everyMs, uploadMs } = this.profile
    agenda.after(phase * everyMs, () => this.measure())
    agenda.after(phase * Math.min(5_000, everyMs), () => this.wake())
    if (uploadMs > 0) agenda.after(phase * uploadMs, () => this.upload())
  }

  /** The power goes, and comes back after a while. */
  brownOut(fraction: number): void {
    if (!this.powered || this.closed) return
    this.tally.count('brownOuts')
    this.powered = false
    this.forgetSession = true
    for (const { stored, released } of this.underWay.values()) {
      this.ram.release(stored)
      if (!released) this.giveUp(stored, 'lostInBrownOuts')
    }
    this.underWay.clear()
    for (const stored of this.ram.lose()) this.giveUp(stored, 'lostInBrownOuts')
    this.client?.cut()
    this.context.agenda.after(brownOutMs.least + fraction * brownOutMs.more, () => this.powerUp())
  }

  /** The radio hears nothing for so long, simulated: the connection breaks without a word. */
  jam(forMs: number): void {
    this.jammedUntilMs = this.context.agenda.nowMs + forMs
    this.client?.cut()
  }

  /** Measures no more, and connects, wherever it is, to send what it has. */
  drain(): void {
    this.draining = true
    this.jammedUntilMs = 0
    if (this.pending > 0) this.wake()
  }

  close(): void {
    this.closed = true
    this.client?.end()
  }

  private powerUp(): void {
    this.powered = true
    this.seq = 0
    this.bootedMs = this.context.agenda.nowMs
    this.account = this.context.ledger.account(this.name, this.account.boot + 1)
    this.nextId = 0
    this.wake()
  }

  private measure(): void {
    if (this.draining || this.closed) return
    const { agenda, seed } = this.context
    agenda.after(this.profile.everyMs, () => this.measure())
    if (!this.powered) return
    const nowMs = agenda.nowMs
    for (const { topic, retain, values } of this.profile.measure(seed, this.number, nowMs)) {
      const id = { device: this.name, boot: this.account.boot, seq: this.seq++ }
      const timeMs = this.rtc.read(nowMs)
      const measured = { timeMs, upMs: nowMs - this.bootedMs, values }
      const encoded = encodeReading(this.profile.encoding, id, measured)
      this.tally.count('made')
      this.ram.store(
        { seq: id.seq, topic: `devices/${this.name}/${topic}`, retain, ...encoded },
        (stored) => this.giveUp(stored, 'dropped'),
      )
    }
    this.lookForNetwork()
    this.pump()
  }

  /** Trackers: a network that is gone breaks the connection, one that is there is used. */
  private lookForNetwork(): void {
    if (this.profile.covered === undefined) return
    if (this.hasNetwork) this.wake()
    else this.client?.cut()
  }

  private get hasNetwork(): boolean {
    const { agenda, seed } = this.context
    if (agenda.nowMs < this.jammedUntilMs) return false
    return this.draining || (this.profile.covered?.(seed, this.number, agenda.nowMs) ?? true)
  }

  private upload(): void {
    if (this.draining || this.closed) return
    this.context.agenda.after(this.profile.uploadMs, () => this.upload())
    if (this.pending > 0) this.wake()
  }

  private giveUp({ seq }: Stored, why: 'dropped' | 'lostInBrownOuts'): void {
    this.account.dropped.add(seq)
    this.tally.count(why)
  }

  /** Connects, unless it is connected, asleep without anything to say, or has no network. */
  private wake(): void {
    if (this.client !== undefined || this.connecting || !this.powered || this.closed) return
    if (!this.hasNetwork) {
      // Profiles that look for a network by themselves do so at each measurement.
      if (this.profile.covered === undefined) this.retryLater()
      return
    }
    const { host, port } = this.context.broker
    const packet = connectOf(this.name, this.profile, this.forgetSession)
    this.client = new Client(host, port, packet, {
      packet: (received) => this.took(received),
      closed: (reason) => this.disconnected(reason),
    })
  }

  private disconnected(reason: string | undefined): void {
    if (this.online) this.context.link.deviceDisconnected(reason === undefined)
    this.online = false
    this.client = undefined
    if (this.profile.qos === 0) this.underWay.clear()
    if (reason !== undefined) {
      this.tally.count('errors')
      this.context.link.trouble(this.name, reason, true)
    }
    const sleeps = this.profile.uploadMs > 0 && reason === undefined && this.pending === 0
    if (this.closed || !this.powered || sleeps) return
    this.retryLater()
  }

  private retryLater(): void {
    if (this.connecting) return
    this.connecting = true
    this.context.agenda.afterReal(this.backoff.nextMs(), () => {
      this.connecting = false
      const needed = this.profile.uploadMs === 0 || this.pending > 0
      if (needed) this.wake()
    })
  }

  private took(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.connected(packet)
        break
      case 'puback':
        this.acknowledged(packet.messageId, packet.reasonCode)
        break
      case 'pubrec':
        this.received(packet.messageId, packet.reasonCode)
        break
      case 'pubcomp':
        this.finished(packet.messageId)
        break
      case 'publish':
        this.command(packet)
        break
      case 'disconnect':
        this.context.link.trouble(this.name, `disconnected with ${packet.reasonCode}`, false)
        break
      default:
        break
    }
    this.pump()
  }

  private connected(packet: IConnackPacket): void {
    const code = packet.returnCode ?? packet.reasonCode ?? 0
    if (code !== 0) {
      this.tally.count('errors')
      this.context.link.trouble(this.name, `refused with ${code}`, false)
      this.client?.cut()
      return
    }
    this.tally.count('connects')
    this.context.link.deviceConnected()
    this.backoff.reset()
    this.online = true
    this.window = Math.min(windowMost, packet.properties?.receiveMaximum ?? windowMost)
    if (this.profile.commands) {
      this.client?.send(subscribeToCommands(this.name, this.freeId()))
    }
    if (packet.sessionPresent) this.resend()
    else this.startOver()
    this.forgetSession = false
  }

  /** The broker knows the session: the same identifiers, in the same order (N2). */
  private resend(): void {
    for (const { id, stored, released } of this.underWay.values()) {
      if (released) this.client?.send({ cmd: 'pubrel', messageId: id })
      else this.publish(id, stored, true)
    }
  }

  /** It does not: what is not acknowledged waits again, and PUBRELs have nobody to go to. */
  private startOver(): void {
    const all = [...this.underWay.values()]
    this.underWay = new Map()
    for (const { stored, released } of all) if (released) this.ram.release(stored)
    this.ram.putBack(all.filter(({ released }) => !released).map(({ stored }) => stored))
  }

  private pump(): void {
    while (this.online && this.underWay.size < this.window) {
      const stored = this.ram.take()
      if (stored === undefined) break
      const id = this.freeId()
      const isFirst = this.account.sent.add(stored.seq)
      this.tally.count(isFirst ? 'sent' : 'sentAgain')
      this.publish(id, stored, false)
      if (this.profile.qos === 0) this.ram.release(stored)
      else this.underWay.set(id, { id, stored, sentMs: this.context.realMs(), released: false })
    }
    const asleep = this.profile.uploadMs > 0 && this.pending === 0
    if (this.online && asleep) this.client?.end()
  }

  private publish(messageId: number, stored: Stored, dup: boolean): void {
    const { qos, protocol } = this.profile
    const { topic, retain, payload, contentType } = stored
    if (dup) this.tally.count('sentAgain')
    const properties = protocol === 5 ? { properties: { contentType } } : {}
    this.client?.send({
      cmd: 'publish',
      topic,
      payload,
      qos,
      retain,
      dup,
      messageId,
      ...properties,
    })
  }

  private acknowledged(messageId: number | undefined, reasonCode = 0): void {
    const sent = this.underWay.get(messageId ?? 0)
    if (sent === undefined) return
    this.underWay.delete(sent.id)
    this.ram.release(sent.stored)
    this.noteAck(sent, reasonCode)
  }

  private received(messageId: number | undefined, reasonCode = 0): void {
    const sent = this.underWay.get(messageId ?? 0)
    if (sent === undefined || sent.released) {
      // A PUBREC that came twice is answered twice; one without its message likewise.
      this.client?.send({ cmd: 'pubrel', messageId: messageId ?? 0 })
      return
    }
    this.noteAck(sent, reasonCode)
    if (reasonCode >= 0x80) {
      this.underWay.delete(sent.id)
      this.ram.release(sent.stored)
      return
    }
    sent.released = true
    this.client?.send({ cmd: 'pubrel', messageId: sent.id })
  }

  private finished(messageId: number | undefined): void {
    const sent = this.underWay.get(messageId ?? 0)
    if (sent === undefined) return
    this.underWay.delete(sent.id)
    this.ram.release(sent.stored)
  }

  /** MQTT 5 can refuse: then the reading is the device's loss, and its ledger says so. */
  private noteAck({ stored, sentMs }: UnderWay, reasonCode: number): void {
    if (reasonCode >= 0x80) {
      this.context.link.trouble(this.name, `a reading was refused with ${reasonCode}`, false)
      this.giveUp(stored, 'dropped')
      return
    }
    this.account.acknowledged.add(stored.seq)
    this.tally.count('acknowledged')
    this.tally.took(this.context.realMs() - sentMs)
  }

  private command(packet: IPublishPacket): void {
    if (packet.qos === 1) this.client?.send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
    if (!this.profile.commands) return
    this.tally.count('commands')
    const answer = answerTo(packet, this.name)
    if (answer !== undefined) this.client?.send(answer)
  }

  private freeId(): number {
    do this.nextId = (this.nextId % 65_535) + 1
    while (this.underWay.has(this.nextId))
    return this.nextId
  }
}
