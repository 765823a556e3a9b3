/**
 * Binds one address and hands over its connections: plain, or behind a TLS handshake, a WebSocket
 * upgrade, or both.
 *
 * I1. Every socket passes the same gate first: the rate of its address.
 * I2. A socket that is not through its handshake and upgrade in time is closed, the oldest first
 *     where there are too many; what goes wrong until then is that socket's matter alone.
 */
import net from 'node:net'
import tls from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { LimitName } from './limits.ts'
import { ConnectionRate, networkOf } from './listener-rate.ts'
import { certificateUser, HANDSHAKE_TIMEOUT_MS, readTls, tlsOptions } from './listener-tls.ts'
import { type WebSocketGate, webSocketGate } from './listener-websocket.ts'
import type { ListenerAddress, ListenerSettings, ListenerTls } from './mqtt.ts'
import type { Carrier, Origin } from './origin.ts'

/**
 * Connections that the kernel holds until they are accepted. A reconnect storm of 5,000 clients
 * took
 * 7.5 s with Node's default of 511, because most SYNs were dropped and sent again; 1.7 s with this.
 * The kernel lowers it to net.core.somaxconn.
 */
const BACKLOG = 8192

/**
 * Fewer, larger socket writes count as full; small windows would report "drain" for each packet.
 */
const SOCKET_BUFFER_BYTES = 64 * 1024

/** Sockets of one listener in their handshake or upgrade: each holds some 50 KiB. */
export const PENDING_MAX = 1000

export interface ListenerParts {
  accept(socket: Carrier, origin: Origin): void
  /** A socket was closed before it was a connection. */
  refused(limit: LimitName): void
  readonly clock: Clock
  readonly logger: Logger
  readonly connectionsPerSecond: number
  readonly packetBytesMax: number
}

export class Listener {
  private readonly settings: ListenerSettings
  private readonly parts: ListenerParts
  private readonly rate: ConnectionRate
  private readonly server: net.Server
  /**
   * Sockets in their handshake or upgrade, by their peer's address and port, which TLS hands on:
   * what ends them.
   */
  private readonly pending = new Map<string, Pending>()
  private handshakes: tls.Server | undefined
  private readonly upgrades: WebSocketGate | undefined

  constructor(settings: ListenerSettings, parts: ListenerParts) {
    this.settings = settings
    this.parts = parts
    this.rate = new ConnectionRate(parts.connectionsPerSecond, parts.clock)
    this.upgrades =
      settings.websocket === true
        ? webSocketGate(parts.packetBytesMax, (stream, socket) => {
            this.hand(stream, socket as net.Socket)
          })
        : undefined
    this.server = net.createServer(
      { noDelay: true, highWaterMark: SOCKET_BUFFER_BYTES, allowHalfOpen: false },
      (socket) => this.connected(socket),
    )
  }

  /** Resolves with the address that it has got; rejects with what to do about it. */
  async listen(): Promise<ListenerAddress> {
    if (this.settings.tls !== undefined) this.startTls(this.settings.tls)
    const { host, port } = this.settings
    return new Promise((resolve, reject) => {
      const refused = (error: Error): void => reject(listenError(error, this.settings))
      this.server.once('error', refused)
      this.server.listen({ host, port, backlog: BACKLOG }, () => {
        this.server.off('error', refused)
        // Connections are accepted again when the cause (too many open files) is gone.
        this.server.on('error', (error) => {
          const fields = { host, port, reason: error.message }
          this.parts.logger.error(fields, 'connections are not accepted')
        })
        const address = this.server.address() as net.AddressInfo
        resolve({ host: address.address, port: address.port })
      })
    })
  }

  /** Reads the certificate files again; when they do not do, says so and goes on with the old. */
  reload(): void {
    const { tls: settings, host, port } = this.settings
    if (settings === undefined || this.handshakes === undefined) return
    try {
      const material = readTls(settings)
      this.handshakes.setSecureContext(material.context)
      this.parts.logger.info({ host, port, validTo: material.validTo }, 'new certificates are used')
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown
      const fields = { host, port, reason: thrown.message }
      this.parts.logger.error(fields, 'the old certificates stay: the new ones cannot be used')
    }
  }

  close(): Promise<void> {
    for (const { socket, timer } of this.pending.values()) {
      clearTimeout(timer)
      socket.destroy()
    }
    this.pending.clear()
    this.upgrades?.close()
    return new Promise((resolve) => {
      this.server.close(() => resolve())
    })
  }

  private startTls(settings: ListenerTls): void {
    const server = tls.createServer(tlsOptions(settings, readTls(settings)))
    server.on('secureConnection', (socket) => this.secured(socket))
    // Whatever a stranger sends instead of a handshake: the socket is closed by whoever reports it.
    server.on('tlsClientError', (_error, socket) => {
      this.parts.refused('handshake')
      socket.destroy()
    })
    this.handshakes = server
  }

  /** I1. */
  private connected(socket: net.Socket): void {
    // Already gone.
    if (socket.remoteAddress === undefined) {
      socket.destroy()
      return
    }
    const address = networkOf(socket.remoteAddress)
    if (!this.rate.admits(address)) {
      this.parts.refused('connection-rate')
      socket.destroy()
      return
    }
    if (this.handshakes === undefined && this.upgrades === undefined) {
      this.parts.accept(socket, { address, certificateUser: undefined })
      return
    }
    this.watch(socket)
    if (this.handshakes !== undefined) this.handshakes.emit('connection', socket)
    else this.upgrades?.take(socket)
  }

  /** One time for handshake and upgrade together (I2). */
  private watch(socket: net.Socket): void {
    const timer = setTimeout(() => {
      this.parts.refused('handshake')
      socket.destroy()
    }, HANDSHAKE_TIMEOUT_MS)
    if (this.pending.size >= PENDING_MAX) this.dropOldest()
    const peer = peerOf(socket)
    this.pending.set(peer, { socket, timer })
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.settled(peer))
  }

  /** A flood of sockets that say nothing does not keep those out that shake hands. */
  private dropOldest(): void {
    const [oldest] = this.pending
    if (oldest === undefined) return
    const [peer, { socket }] = oldest
    this.settled(peer)
    this.parts.refused('handshake')
    socket.destroy()
  }

  private settled(peer: string): void {
    clearTimeout(this.pending.get(peer)?.timer)
    this.pending.delete(peer)
  }

  private secured(socket: tls.TLSSocket): void {
    if (this.upgrades === undefined) {
      this.hand(socket, socket)
      return
    }
    socket.on('error', () => socket.destroy())
    this.upgrades.take(socket)
  }

  /** `carrier` is what runs over `socket`, or `socket` itself. */
  private hand(carrier: Carrier, socket: net.Socket): void {
    if (socket.remoteAddress === undefined) {
      carrier.destroy()
      return
    }
    const address = networkOf(socket.remoteAddress)
    this.settled(peerOf(socket))
    const user =
      socket instanceof tls.TLSSocket
        ? certificateUser(socket, this.settings.tls?.userFrom)
        : undefined
    this.parts.accept(carrier, { address, certificateUser: user })
  }
}

interface Pending {
  readonly socket: net.Socket
  readonly timer: NodeJS.Timeout
}

function peerOf({ remoteAddress, remotePort }: net.Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** What a person can do about an address that cannot be bound. */
function listenError(cause: unknown, { host, port }: ListenerAddress): SluiceError {
  const at = `${host}:${port}`
  return codeOf(cause) === 'EADDRINUSE'
    ? new SluiceError('address-in-use', `MQTT cannot listen on ${at}: the port is taken`, { cause })
    : new SluiceError('address-refused', `MQTT cannot listen on ${at}: ${messageOf(cause)}`, {
        cause,
      })
}
