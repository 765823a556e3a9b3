/**
 * The password file: lines `user:hash`, empty lines and lines that begin with `#`. Read as a whole
 * at the start and at a reload; changed only by `sluice passwd`, which writes a new file beside it
 * and renames, so that a gateway never reads half a file.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
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
  const source = readSource(file)
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
  return { lines, isExposed: (statSync(file).mode & 0o004) !== 0 }
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
 * Answers whether the user was there. Comments and the order of lines stay.
 */
export function writePassword(file: string, user: string, hash: string | undefined): boolean {
  let source = ''
  let mode = 0o600
  try {
    source = readFileSync(file, 'utf8')
    mode = statSync(file).mode & 0o777
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw unreadable(file, thrown)
  }
  const lines = source === '' ? [] : source.replace(/\n$/, '').split('\n')
  const at = lines.findIndex((line) => line.startsWith(`${user}:`))
  if (at < 0 && hash === undefined) return false
  const line = hash === undefined ? [] : [`${user}:${hash}`]
  if (at < 0) lines.push(...line)
  else lines.splice(at, 1, ...line)
  replace(file, lines.map((each) => `${each}\n`).join(''), mode)
  return at >= 0
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

function replace(file: string, text: string, mode: number): void {
  const fresh = `${file}.new`
  try {
    const descriptor = openSync(fresh, 'w', mode)
    try {
      writeSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(fresh, file)
  } catch (cause) {
    const message = `the password file ${file} cannot be written: ${messageOf(cause)}`
    throw new SluiceError('access-invalid', message, { cause })
  }
}
