/**
 * A client that does only what a test tells it: sends packets or bytes as they are, and keeps
 * everything that comes back. For the many things that a well-behaved client never does.
 */
import { once } from 'node:events'
import net from 'node:net'
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet'

/** Long enough for a machine that does much else; a test that fails waits it out. */
const PATIENCE_MS = 25_000

export interface ConnectOptions {
  readonly version?: 3 | 4 | 5
  readonly clientId?: string
  readonly clean?: boolean
  readonly keepalive?: number
  readonly will?: object
  readonly username?: string
  readonly password?: string
  readonly properties?: object
  /** False: no PUBACK, PUBREC, PUBREL or PUBCOMP is sent by itself. */
  readonly acks?: boolean
}

let serial = 0

export class RawClient {
  readonly socket: net.Socket
  readonly received: Packet[] = []
  closed = false
  private readonly version: number
  private readonly acks: boolean
  private readonly changes = new Set<() => void>()

  private constructor(socket: net.Socket, version: number, acks: boolean) {
    this.socket = socket
    this.version = version
    this.acks = acks
    const parser = mqttPacket.parser({ protocolVersion: version })
    parser.on('packet', (packet: Packet) => this.take(packet))
    socket.on('data', (bytes) => parser.parse(bytes))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.closed = true
      this.changed()
    })
  }

  /** Only a socket: nothing is sent yet. */
  static async open(port: number, options: ConnectOptions = {}): Promise<RawClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new RawClient(socket, options.version ?? 4, options.acks ?? true)
  }

  /** Connected, with CONNACK received. */
  static async connect(port: number, options: ConnectOptions = {}): Promise<RawClient> {
    const client = await RawClient.open(port, options)
    client.send(client.connectPacket(options))
    await client.packet('connack')
    return client
  }

  connectPacket(options: ConnectOptions): Packet {
    return {
      cmd: 'connect',
      protocolId: this.version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.version,
      clean: options.clean ?? true,
      clientId: options.clientId ?? `raw-${process.pid}-${++serial}`,
      keepalive: options.keepalive ?? 0,
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: Buffer.from(options.password) }),
      ...(options.will === undefined ? {} : { will: options.will }),
      ...(options.properties === undefined ? {} : { properties: options.properties }),
    } as Packet
  }

  /** All packets in one write. */
  send(...packets: Packet[]): void {
    const options = { protocolVersion: this.version }
    this.bytes(Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, options))))
  }

  bytes(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  publish(topic: string, payload: string | Buffer, more: Partial<IPublishPacket> = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...more })
  }

  async subscribe(topic: string, qos: 0 | 1 | 2 = 0, more: object = {}): Promise<Packet> {
    const before = this.of('suback').length
    this.send({
      cmd: 'subscribe',
      messageId: 1000 + before,
      subscriptions: [{ topic, qos, ...more }],
    } as Packet)
    return this.packet('suback', before)
  }

  of<C extends Packet['cmd']>(cmd: C): Extract<Packet, { cmd: C }>[] {
    return this.received.filter(
      (packet): packet is Extract<Packet, { cmd: C }> => packet.cmd === cmd,
    )
  }

  get publishes(): IPublishPacket[] {
    return this.of('publish') as IPublishPacket[]
  }

  /** Payloads received so far, as text. */
  get payloads(): string[] {
    return this.publishes.map(({ payload }) => payload.toString())
  }

  /** The packet number `index` of that kind, once it is there. */
  async packet<C extends Packet['cmd']>(cmd: C, index = 0): Promise<Extract<Packet, { cmd: C }>> {
    await this.until(() => this.of(cmd).length > index, `${cmd} number ${index}`)
    return this.of(cmd)[index] as Extract<Packet, { cmd: C }>
  }

  /** Resolves when `holds` does; looked at again with every packet and at the close. */
  until(holds: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!holds()) return
        done()
        resolve()
      }
      const timer = setTimeout(() => {
        done()
        const seen = this.received.slice(-8).map(({ cmd }) => cmd)
        reject(
          new Error(
            `${what} did not come; last received: ${seen.join(' ')}; closed: ${this.closed}`,
          ),
        )
      }, PATIENCE_MS)
      const done = () => {
        clearTimeout(timer)
        this.changes.delete(look)
      }
      this.changes.add(look)
      look()
    })
  }

  closing(): Promise<void> {
    return this.until(() => this.closed, 'the close')
  }

  /** A PINGREQ's answer proves that everything sent before was handled. */
  async ping(): Promise<void> {
    const before = this.of('pingresp').length
    this.send({ cmd: 'pingreq' } as Packet)
    await this.packet('pingresp', before)
  }

  end(): void {
    this.socket.destroy()
  }

  private take(packet: Packet): void {
    this.received.push(packet)
    if (this.acks) this.answer(packet)
    this.changed()
  }

  private answer(packet: Packet): void {
    if (packet.cmd === 'publish' && packet.qos > 0) {
      const cmd = packet.qos === 1 ? 'puback' : 'pubrec'
      this.send({ cmd, messageId: packet.messageId } as Packet)
    } else if (packet.cmd === 'pubrel') {
      this.send({ cmd: 'pubcomp', messageId: packet.messageId } as Packet)
    }
  }

  private changed(): void {
    for (const look of [...this.changes]) look()
  }
}
