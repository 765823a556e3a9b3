/**
 * Connections that have not logged in. Anybody who reaches the port can make them, so that neither
 * their number nor their bytes may keep anybody out: where there is no place left, the one that has
 * been silent for the longest goes, and all together hold a bounded number of bytes.
 */

/**
 * A CONNECT has some 100 bytes and comes in one piece: thousands of logins at once fit many times
 * over. Without it, 10,000 sockets could hold 128 KiB each of a CONNECT that never ends.
 */
export const STRANGER_BYTES_MAX = 16 * 1024 * 1024

/** Whoever holds no more comes in even then: an attacker's large CONNECTs keep no device out. */
const USUAL_BYTES = 2048

export class Strangers<C> {
  /** Without a CONNECT so far, the oldest first. */
  private readonly silent = new Set<C>()
  private readonly held = new Map<C, number>()
  private bytes = 0

  enter(connection: C): void {
    this.silent.add(connection)
  }

  /** Its CONNECT is there, and is being looked at. */
  introduced(connection: C): void {
    this.silent.delete(connection)
  }

  /** It has logged in, or gone. */
  leave(connection: C): void {
    this.silent.delete(connection)
    this.bytes -= this.held.get(connection) ?? 0
    this.held.delete(connection)
  }

  /** What is held for it is now so much; false: it is too much for all of them together. */
  hold(connection: C, bytes: number): boolean {
    this.bytes += bytes - (this.held.get(connection) ?? 0)
    if (bytes === 0) this.held.delete(connection)
    else this.held.set(connection, bytes)
    return bytes <= USUAL_BYTES || this.bytes <= STRANGER_BYTES_MAX
  }

  /** Who has to make place; undefined: nobody is silent. */
  takeOldest(): C | undefined {
    const [oldest] = this.silent
    if (oldest !== undefined) this.silent.delete(oldest)
    return oldest
  }
}
