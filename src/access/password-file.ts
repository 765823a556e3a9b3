/**
 * The password file: lines `user:hash`, empty lines and lines that begin with `#`. Read as a whole
 * at the start and at a reload; changed only by `sluice passwd`, which writes a new file beside it
 * and renames, so that a gateway never reads half a file.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import { type PasswordHash, parseHash } from './password-hash.ts'

/** Some 100,000 users. */
const FILE_BYTES_MAX = 16 * 1024 * 1024
/** As long as MQTT can say. */
const USER_BYTES_MAX = 65_535

export interface PasswordLine {
  readonly hash: PasswordHash
  /** As it stands in the file: another text is another password. */
  readonly text: string
}

export interface Passwords {
  readonly lines: ReadonlyMap<string, PasswordLine>
  /** Users of the system that are not the owner can read the file. */
  readonly isExposed: boolean
}

/** Throws `access-invalid`, which names the line and never its content. */
export function readPasswords(file: string): Passwords {
  return { lines: parsed(file, readSource(file)), isExposed: (statSync(file).mode & 0o004) !== 0 }
}

function parsed(file: string, source: string): ReadonlyMap<string, PasswordLine> {
  const lines = new Map<string, PasswordLine>()
  for (const [index, line] of source.split('\n').entries()) {
    const entry = parseLine(line)
    if (entry === 'none') continue
    const at = `the password file ${file}, line ${index + 1}`
    if (entry === 'malformed') throw new SluiceError('access-invalid', `${at}: not "user:hash"`)
    if (lines.has(entry.user)) {
      throw new SluiceError('access-invalid', `${at}: the user stands there twice`)
    }
    lines.set(entry.user, entry.line)
  }
  return lines
}

/** Why a user cannot stand in the file; undefined when it can. */
export function userFault(user: string): string | undefined {
  if (user === '') return 'is empty'
  if (user === '*') return 'is "*", which stands for everyone in rules'
  if (user.startsWith('#')) return 'begins with "#", as comments do'
  if (user.includes(':')) return 'has a ":", which ends the name'
  if (/[\p{Cc}]/u.test(user)) return 'has a control character'
  if (user.trim() !== user) return 'begins or ends with a space'
  return Buffer.byteLength(user) > USER_BYTES_MAX ? 'is longer than 65,535 bytes' : undefined
}

/**
 * Sets the hash of a user, or removes the user where it is undefined; a missing file is made.
 * Answers whether the user was there. Comments, the order of lines, owner and mode stay. Throws
 * `access-invalid`, also for a file that holds something else: it is no password file.
 */
export function writePassword(file: string, user: string, hash: string | undefined): boolean {
  const before = existing(file)
  const source = before?.source ?? ''
  parsed(file, source)
  const lines = source === '' ? [] : source.replace(/\n$/, '').split('\n')
  const at = lines.findIndex((line) => line.startsWith(`${user}:`))
  if (at < 0 && hash === undefined) return false
  const line = hash === undefined ? [] : [`${user}:${hash}`]
  if (at < 0) lines.push(...line)
  else lines.splice(at, 1, ...line)
  replace(before?.target ?? file, lines.map((each) => `${each}\n`).join(''), before?.stats)
  return at >= 0
}

interface Existing {
  readonly source: string
  /** Where the file is, should `file` be a link: that is what is replaced. */
  readonly target: string
  readonly stats: Stats
}

function existing(file: string): Existing | undefined {
  try {
    return { source: readFileSync(file, 'utf8'), target: realpathSync(file), stats: statSync(file) }
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return undefined
    throw unreadable(file, thrown)
  }
}

type Parsed = { readonly user: string; readonly line: PasswordLine } | 'none' | 'malformed'

function parseLine(source: string): Parsed {
  const line = source.replace(/\r$/, '')
  if (line.trim() === '' || line.startsWith('#')) return 'none'
  const colon = line.indexOf(':')
  const user = line.slice(0, Math.max(colon, 0))
  const text = line.slice(colon + 1)
  const hash = parseHash(text)
  if (hash === undefined || userFault(user) !== undefined) return 'malformed'
  return { user, line: { hash, text } }
}

function readSource(file: string): string {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) {
      throw new SluiceError('access-invalid', `the password file ${file} is larger than 16 MiB`)
    }
    return readFileSync(file, 'utf8')
  } catch (thrown) {
    throw thrown instanceof SluiceError ? thrown : unreadable(file, thrown)
  }
}

function unreadable(file: string, cause: unknown): SluiceError {
  const why = codeOf(cause) === 'ENOENT' ? 'there is no such file' : messageOf(cause)
  return new SluiceError('access-invalid', `the password file ${file} cannot be read: ${why}`, {
    cause,
  })
}

function replace(file: string, text: string, before: Stats | undefined): void {
  const fresh = `${file}.new`
  try {
    const descriptor = openSync(fresh, 'w', 0o600)
    try {
      // Whoever runs the gateway must be able to read what root wrote.
      if (before !== undefined) fchownSync(descriptor, before.uid, before.gid)
      fchmodSync(descriptor, (before?.mode ?? 0o600) & 0o777)
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(fresh, file)
  } catch (cause) {
    const why = codeOf(cause) === 'ENOENT' ? 'there is no such folder' : messageOf(cause)
    const message = `the password file ${file} cannot be written: ${why}`
    throw new SluiceError('access-invalid', message, { cause })
  }
}
