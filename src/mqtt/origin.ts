import type { Duplex } from 'node:stream'

/**
 * What carries a client's bytes, of whichever listener: a socket, TLS, or a WebSocket. Waiting for
 * `drain`, and not reading, reach through to the peer with all of them.
 */
export type Carrier = Duplex

/** Where a connection came from, as far as its listener knows. */
export interface Origin {
  /** The peer's IPv4 address, or its IPv6 network. */
  readonly address: string
  /** The user that the client's verified certificate names, on listeners that ask for it. */
  readonly certificateUser: string | undefined
}
