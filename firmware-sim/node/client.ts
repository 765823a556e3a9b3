/**
 * One MQTT connection of a device, made for thousands of them: mqtt-packet on a socket, without
 * stores, timers or queues. What is to be sent again after a reconnect is the device's business, as
 * it is in firmware.
 *
 * A silent connection is asked with PINGREQ after 20 s and cut when another 20 s stay silent.
 */
import { connect, type Socket } from 'node:net'
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet'

export interface ClientEvents {
  /** Every packet of the broker but PINGRESP, CONNACK first. */
  packet(packet: Packet): void
  /** Once, however the connection ended; `reason` is undefined when this side ended it. */
  closed(reason: string | undefined): void
}

const silentMs = 20_000

export class Client {
  private readonly socket: Socket
  private readonly events: ClientEvents
  private readonly protocolVersion: 4 | 5
  private asked = false
  private ended = false
  private corked = false
  private reason = 'the broker closed the connection'

  constructor(host: string, port: number, packet: IConnectPacket, events: ClientEvents) {
    this.events = events
    this.protocolVersion = packet.protocolVersion === 5 ? 5 : 4
    const parser = mqttPacket.parser({ protocolVersion: this.protocolVersion })
    parser.on('packet', (received: Packet) => this.take(received))
    parser.on('error', (error: Error) => this.fail(error.message))
    // Firmware sends a small packet when it has one; Nagle's algorithm would hold it back.
    const socket = connect({ host, port, noDelay: true })
    socket.on('data', (bytes: Buffer) => {
      this.asked = false
      parser.parse(bytes)
    })
    socket.on('error', (error: Error & { code?: string }) => this.fail(error.code ?? error.message))
    socket.setTimeout(silentMs, () => this.silent())
    socket.once('close', () => {
      if (!this.ended) events.closed(this.reason)
      this.ended = true
    })
    this.socket = socket
    this.send(packet)
  }

  /** All packets of one turn of the event loop leave in one write. */
  send(packet: Packet): void {
    if (this.ended) return
    if (!this.corked) {
      this.corked = true
      this.socket.cork()
      setImmediate(() => {
        this.corked = false
        this.socket.uncork()
      })
    }
    this.socket.write(mqttPacket.generate(packet, { protocolVersion: this.protocolVersion }))
  }

  /** Ends it well, with DISCONNECT. */
  end(): void {
    if (this.ended) return
    this.send({ cmd: 'disconnect' })
    this.ended = true
    this.socket.end()
    this.events.closed(undefined)
  }

  /** As when the radio or the power goes: a reset, without a word. */
  cut(): void {
    if (this.ended) return
    this.ended = true
    this.socket.resetAndDestroy()
    this.events.closed(undefined)
  }

  private take(packet: Packet): void {
    if (!this.ended && packet.cmd !== 'pingresp') this.events.packet(packet)
  }

  private silent(): void {
    if (this.ended) this.socket.destroy()
    else if (this.asked) this.fail('the broker does not answer')
    else {
      this.asked = true
      this.send({ cmd: 'pingreq' })
    }
  }

  private fail(reason: string): void {
    this.reason = reason
    this.socket.destroy()
  }
}
