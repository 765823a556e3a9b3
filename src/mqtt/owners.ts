/**
 * Whose the client ids are. A client id is only what a client calls itself, but its session, its
 * queued messages and its place on the gateway hang on it: without an owner, any user could take
 * over, or end, the session of another one by calling itself the same.
 *
 * O1. While a user is connected under an id, or has a session under it, another user is refused.
 * O2. An anonymous client owns nothing: a user who comes under its id takes the id over, and the
 *     session with it, so that access can be switched on without losing what waits.
 * O3. Neither does a user who is gone from the password file: a renamed user finds its sessions.
 */
export interface OwnersParts {
  /** The user of the session of a client id; undefined: none, or nobody's. */
  sessionOwner(clientId: string): string | undefined
  /** Whether somebody could still log in as this user. */
  isUser(user: string): boolean
}

interface Holding<C> {
  owner: string | undefined
  /** Two and more while the newest takes over from the others. */
  readonly connections: Set<C>
}

export class Owners<C> {
  private readonly parts: OwnersParts
  /** By client id, from the login of a connection to its end. */
  private readonly held = new Map<string, Holding<C>>()

  constructor(parts: OwnersParts) {
    this.parts = parts
  }

  /** Takes an id for a connection of `user`; false: it is another user's (O1). */
  take(clientId: string, user: string | undefined, connection: C): boolean {
    const holding = this.held.get(clientId)
    if (!this.isFree(this.parts.sessionOwner(clientId), user)) return false
    if (!this.isFree(holding?.owner, user)) return false
    if (holding === undefined) {
      this.held.set(clientId, { owner: user, connections: new Set([connection]) })
    } else {
      holding.owner = user
      holding.connections.add(connection)
    }
    return true
  }

  /** Whether no user has come under the id since `take`. */
  isStill(clientId: string, user: string | undefined): boolean {
    const holding = this.held.get(clientId)
    return holding !== undefined && this.isFree(holding.owner, user)
  }

  release(clientId: string, connection: C): void {
    const holding = this.held.get(clientId)
    if (holding?.connections.delete(connection) !== true) return
    if (holding.connections.size === 0) this.held.delete(clientId)
  }

  private isFree(owner: string | undefined, user: string | undefined): boolean {
    return owner === undefined || owner === user || !this.parts.isUser(owner)
  }
}
