/** Binds one address and hands over its connections. */
import net from 'node:net'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
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
  private readonly logger: Logger
  private readonly server: net.Server

  constructor(wanted: ListenerAddress, accept: (socket: net.Socket) => void, logger: Logger) {
    this.wanted = wanted
    this.logger = logger
    this.server = net.createServer(
      { noDelay: true, highWaterMark: SOCKET_BUFFER_BYTES, allowHalfOpen: false },
      accept,
    )
  }

  /** Resolves with the address that it has got; rejects with what to do about it. */
  listen(): Promise<ListenerAddress> {
    const { host, port } = this.wanted
    return new Promise((resolve, reject) => {
      const refused = (error: Error): void => reject(listenError(error, this.wanted))
      this.server.once('error', refused)
      this.server.listen({ host, port, backlog: BACKLOG }, () => {
        this.server.off('error', refused)
        // Connections are accepted again when the cause (too many open files) is gone.
        this.server.on('error', (error) => {
          this.logger.error({ host, port, reason: error.message }, 'connections are not accepted')
        })
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
function listenError(cause: unknown, { host, port }: ListenerAddress): SluiceError {
  const at = `${host}:${port}`
  return codeOf(cause) === 'EADDRINUSE'
    ? new SluiceError('address-in-use', `MQTT cannot listen on ${at}: the port is taken`, { cause })
    : new SluiceError('address-refused', `MQTT cannot listen on ${at}: ${messageOf(cause)}`, {
        cause,
      })
}
