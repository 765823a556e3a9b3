/** Binds one address and hands over its connections. */
import net from 'node:net'
import { codeOf, SluiceError } from '../base/errors.ts'
import type { ListenerAddress } from './mqtt.ts'

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

export class Listener {
  private readonly wanted: ListenerAddress
  private readonly server: net.Server

  constructor(wanted: ListenerAddress, accept: (socket: net.Socket) => void) {
    this.wanted = wanted
    this.server = net.createServer(
      { noDelay: true, highWaterMark: SOCKET_BUFFER_BYTES, allowHalfOpen: false },
      accept,
    )
  }

  /** Resolves with the address that it has got; rejects with what to do about it. */
  listen(): Promise<ListenerAddress> {
    const { host, port } = this.wanted
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => reject(listenError(error, this.wanted)))
      this.server.listen({ host, port, backlog: BACKLOG }, () => {
        const address = this.server.address() as net.AddressInfo
        resolve({ host: address.address, port: address.port })
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve())
    })
  }
}

/** What a person can do about an address that cannot be bound. */
export function listenError(error: unknown, { host, port }: ListenerAddress): SluiceError {
  const at = `${host}:${port}`
  return codeOf(error) === 'EADDRINUSE'
    ? new SluiceError('address-in-use', `${at} is already in use`, { cause: error })
    : new SluiceError('address-refused', `${at} cannot be bound`, { cause: error })
}
