/**
 * The door of access: who may connect, and what a client may do. It knows users, passwords, topics
 * and rules, and nothing of MQTT packets.
 *
 * Invariants, cited by tests:
 * X1. Deny by default: with rules, what no rule grants is refused; without `anonymous = true`
 *     nobody comes in unknown.
 * X2. A name from a client never widens a grant, and never indexes a plain object.
 * X3. No answer, and no time it takes, tells whether a user exists.
 * X4. A reload that fails leaves everything as it was.
 */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import { BackOff } from './back-off.ts'
import { Grants } from './grants.ts'
import { type Passwords, readPasswords } from './password-file.ts'
import { type AccessRule, RuleBook } from './rules.ts'
import { Verifier } from './verifier.ts'

export type { Grants } from './grants.ts'
export { readPasswords, userFault, writePassword } from './password-file.ts'
export { COST_DEFAULT, COST_MAX, COST_MIN, hashPassword } from './password-hash.ts'
export type { AccessAction, AccessRule } from './rules.ts'
export { readToken, Token } from './token.ts'

export interface AccessSettings {
  /** Clients may connect without a name and password. */
  readonly anonymous: boolean
  readonly passwordFile?: string
  /** The first match wins. None, and `anonymous`: everything is allowed. */
  readonly rules: readonly AccessRule[]
}

/** What a client shows of itself in CONNECT, and its listener in the handshake. */
export interface Login {
  readonly clientId: string
  readonly user: string | undefined
  readonly password: Uint8Array | undefined
  /** The user that a verified client certificate names. */
  readonly certificateUser: string | undefined
  readonly address: string
  /** Asked when its turn to be verified comes: false where the client has gone meanwhile. */
  readonly isThere?: () => boolean
}

/** Who somebody proved to be. */
export interface Identity {
  /** Undefined: anonymous. */
  readonly user: string | undefined
  /** What has to stay as it is for the login to stay valid. */
  readonly proof: { readonly kind: 'none' | 'certificate' } | PasswordProof
}

interface PasswordProof {
  readonly kind: 'password'
  readonly line: string
}

export type Refusal = 'bad-credentials' | 'not-authorized' | 'backing-off' | 'busy'

export type LoginOutcome =
  | { readonly kind: 'granted'; readonly identity: Identity }
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly sentence: string }

export interface AccessParts {
  readonly clock: Clock
  readonly logger: Logger
}

const BACKING_OFF = 'too many failed logins: the next ones have to wait'

/** What a client without a password is verified with: nothing. */
const NO_PASSWORD = new Uint8Array(0)

export class Access {
  private readonly logger: Logger
  private readonly book = new RuleBook()
  private readonly verifier = new Verifier()
  private readonly backOff: BackOff
  private anonymous = true
  private passwords: Passwords | undefined

  /** Undefined settings: everyone may connect and do everything. Throws `access-invalid`. */
  constructor(settings: AccessSettings | undefined, { clock, logger }: AccessParts) {
    this.logger = logger
    this.backOff = new BackOff(clock)
    this.replace(settings)
  }

  /** New settings and files; throws `access-invalid`, and then nothing has changed (X4). */
  replace(settings: AccessSettings | undefined): void {
    const file = settings?.passwordFile
    const passwords = file === undefined ? undefined : readPasswords(file)
    if (passwords?.isExposed === true) {
      this.logger.warn({ file }, 'every user of this machine can read the password file: chmod 600')
    }
    const rules = settings?.rules ?? []
    this.anonymous = settings?.anonymous ?? true
    this.passwords = passwords
    this.verifier.likeHash(firstHash(passwords))
    this.book.replace(rules.length === 0 && this.anonymous ? undefined : rules)
    if (settings !== undefined && !this.book.isOpen && rules.length === 0) {
      this.logger.warn({}, '[access] has no rule: clients may connect and can do nothing')
    }
  }

  /** Answers at once where nothing has to be verified, which is most of the time. */
  login(login: Login): LoginOutcome | Promise<LoginOutcome> {
    const { user, certificateUser } = login
    if (certificateUser !== undefined) {
      return granted({ user: certificateUser, proof: { kind: 'certificate' } })
    }
    if (user === undefined || this.passwords === undefined) return this.unnamed(user)
    const password = login.password ?? NO_PASSWORD
    const line = this.passwords.lines.get(user)
    if (this.verifier.remembers(user, password, line) && line !== undefined) {
      return granted({ user, proof: { kind: 'password', line: line.text } })
    }
    return this.backingOff(login.address, user) ?? this.verify(login, user, password)
  }

  /** What a client that logged in may do. */
  grants(clientId: string, identity: Identity): Grants {
    return new Grants(this.book, clientId, identity.user)
  }

  /** Whether a login from before the last `replace` would still be one. */
  isStillValid({ user, proof }: Identity): boolean {
    switch (proof.kind) {
      case 'certificate':
        return true
      case 'none':
        return this.anonymous
      case 'password':
        return user !== undefined && this.passwords?.lines.get(user)?.text === proof.line
      default:
        return proof satisfies never
    }
  }

  /** Whether the password file has this user. */
  knows(user: string): boolean {
    return this.passwords?.lines.has(user) === true
  }

  private backingOff(address: string, user: string): LoginOutcome | undefined {
    const waitMs = this.backOff.waitMs(address, user)
    if (waitMs <= 0) return undefined
    const sentence = `too many failed logins: the next is looked at in ${Math.ceil(waitMs)} ms`
    return refused('backing-off', sentence)
  }

  /** A name that nobody can verify is no name: whatever it calls itself, it is anonymous. */
  private unnamed(user: string | undefined): LoginOutcome {
    if (this.anonymous) return granted({ user: undefined, proof: { kind: 'none' } })
    return user === undefined
      ? refused('not-authorized', 'anonymous clients may not connect')
      : refused('bad-credentials', 'there is no password_file to verify a user with')
  }

  private async verify(
    { address, isThere }: Login,
    user: string,
    password: Uint8Array,
  ): Promise<LoginOutcome> {
    const line = this.passwords?.lines.get(user)
    // Of a thousand wrong ones sent at once the first few are enough to make the others wait.
    const isWorthIt = () => isThere?.() !== false && this.backOff.waitMs(address, user) <= 0
    const verdict = await this.verifier.verify(user, password, line, isWorthIt)
    if (verdict === 'busy') return refused('busy', 'too many logins wait to be verified')
    if (verdict === 'skipped') {
      return this.backingOff(address, user) ?? refused('busy', 'the client has gone meanwhile')
    }
    if (verdict === 'wrong' || line === undefined) {
      // An unknown name is not logged: people type passwords there.
      const fields = line === undefined ? { address } : { address, user }
      if (this.backOff.failed(address, user)) this.logger.warn(fields, BACKING_OFF)
      return refused('bad-credentials', 'the user name or the password is wrong')
    }
    this.backOff.succeeded(address, user)
    // The file may have changed meanwhile.
    if (this.passwords?.lines.get(user)?.text !== line.text) {
      return refused('bad-credentials', 'the user was changed during the login')
    }
    return granted({ user, proof: { kind: 'password', line: line.text } })
  }
}

function granted(identity: Identity): LoginOutcome {
  return { kind: 'granted', identity }
}

function refused(refusal: Refusal, sentence: string): LoginOutcome {
  return { kind: 'refused', refusal, sentence }
}

function firstHash(passwords: Passwords | undefined) {
  for (const { hash } of passwords?.lines.values() ?? []) return hash
  return undefined
}
