/**
 * Verifies passwords without letting logins take the machine: few at once, a bounded number
 * waiting, and what was right once is remembered.
 *
 * V1. A remembered success is a keyed digest with a key of this boot, compared in constant time; it
 *     counts for the very line of the password file that it was made with.
 * V2. A wrong password always costs a whole verification, and so does an unknown user.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { PasswordLine } from './password-file.ts'
import { decoyOf, type PasswordHash, verifyPassword } from './password-hash.ts'

/** Node's pool has 4 threads, which files and names share; each verification takes 16 MiB. */
const RUNNING_MAX = 2
/** A reconnect storm waits in line; whoever comes behind this many is told to come again. */
const WAITING_MAX = 2000
/** Digests of 32 bytes. */
const REMEMBERED_MAX = 20_000

/** As long as a digest. */
const NOTHING = Buffer.alloc(32)

export type Verdict = 'right' | 'wrong' | 'busy' | 'skipped'

export class Verifier {
  private readonly key = randomBytes(32)
  private readonly remembered = new Map<string, Buffer>()
  private readonly waiting: (() => void)[] = []
  private running = 0
  private decoy: PasswordHash = decoyOf(undefined)

  /** Unknown users cost what this hash would. */
  likeHash(hash: PasswordHash | undefined): void {
    this.decoy = decoyOf(hash)
  }

  /** Whether this password was right before, for this line; at once, known or not (V2). */
  remembers(user: string, password: Uint8Array, line: PasswordLine | undefined): boolean {
    const known = this.remembered.get(user)
    const isSame = timingSafeEqual(known ?? NOTHING, this.digest(user, password, line))
    return isSame && known !== undefined && line !== undefined
  }

  /** `isWorthIt` is asked when its turn has come: only then is it known what became of others. */
  async verify(
    user: string,
    password: Uint8Array,
    line: PasswordLine | undefined,
    isWorthIt: () => boolean,
  ): Promise<Verdict> {
    if (this.running < RUNNING_MAX) this.running++
    else if (this.waiting.length >= WAITING_MAX) return 'busy'
    else await new Promise<void>((resolve) => this.waiting.push(resolve))
    try {
      // Of 100 logins with one name that waited, the first has settled it.
      if (this.remembers(user, password, line)) return 'right'
      if (!isWorthIt()) return 'skipped'
      const isRight = await verifyPassword(password, line?.hash ?? this.decoy)
      if (!isRight || line === undefined) return 'wrong'
      this.remember(user, password, line)
      return 'right'
    } finally {
      this.leave()
    }
  }

  /** The place of one that is done goes to the first that waits. */
  private leave(): void {
    const next = this.waiting.shift()
    if (next === undefined) this.running--
    else next()
  }

  private remember(user: string, password: Uint8Array, line: PasswordLine): void {
    this.remembered.delete(user)
    if (this.remembered.size >= REMEMBERED_MAX) {
      const [oldest] = this.remembered.keys()
      if (oldest !== undefined) this.remembered.delete(oldest)
    }
    this.remembered.set(user, this.digest(user, password, line))
  }

  private digest(user: string, password: Uint8Array, line: PasswordLine | undefined): Buffer {
    const mac = createHmac('sha256', this.key)
    // Lengths in front, so that no two logins give the same bytes.
    mac.update(`${Buffer.byteLength(user)}:${user}:${line?.text}:`)
    return mac.update(password).digest()
  }
}
