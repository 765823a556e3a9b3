/**
 * Where the messages for one client come from: its own subscriptions, retained messages, and
 * whatever else sends to it. Each registers with the client's outbound side, which asks them in
 * turn while there is room.
 */
export interface Source {
  /**
   * Sends what it has, until it has nothing or the client has no room. Called whenever the window
   * or the socket may have room again.
   */
  pump(): void
  /** The connection has ended: nothing can be sent any more. */
  close(): void
}
