/**
 * Password hashes: scrypt, its cost and salt in the text, as the PHC string format has it:
 * `$scrypt$ln=14,r=8,p=1$<salt>$<hash>`, base64 without padding. A line says its own cost, so the
 * default can rise without old lines failing.
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'

/**
 * 2^14 rounds of 1 KiB: 35 ms and 16 MiB for one verification on a 2.5 GHz x86 core, about four
 * times as long on a Raspberry Pi 4. What was verified once is remembered, so that this is paid
 * once per client and start.
 */
export const COST_DEFAULT = 14
export const COST_MIN = 10
/** 128 MiB for one verification; more would let a login take the gateway's memory. */
export const COST_MAX = 17

const BLOCK = 8
const PARALLEL_MAX = 4
const SALT_BYTES = 16
const HASH_BYTES = 32
const MIB = 1024 * 1024

export interface PasswordHash {
  /** The logarithm of the number of rounds. */
  readonly cost: number
  readonly parallel: number
  readonly salt: Buffer
  readonly hash: Buffer
}

/** The hash of a new password, with a fresh salt. */
export async function hashPassword(password: Uint8Array, cost: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, cost, 1)
  return `$scrypt$ln=${cost},r=${BLOCK},p=1$${text(salt)}$${text(hash)}`
}

/** Undefined when the text is no hash that this gateway can verify. */
export function parseHash(line: string): PasswordHash | undefined {
  const match =
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(
      line,
    )
  if (match === null) return undefined
  const [cost, block, parallel] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const salt = Buffer.from(match[4] ?? '', 'base64')
  const hash = Buffer.from(match[5] ?? '', 'base64')
  const fits =
    cost >= COST_MIN &&
    cost <= COST_MAX &&
    block === BLOCK &&
    parallel >= 1 &&
    parallel <= PARALLEL_MAX &&
    salt.length >= SALT_BYTES &&
    hash.length === HASH_BYTES
  return fits ? { cost, parallel, salt, hash } : undefined
}

/**
 * On a thread of the pool; compared in constant time. HMAC, on which scrypt stands, fills short
 * keys up with zeros, so that "x" and "x\0" have one hash: no password ends with a zero byte.
 */
export async function verifyPassword(
  password: Uint8Array,
  { cost, parallel, salt, hash }: PasswordHash,
): Promise<boolean> {
  const isRight = timingSafeEqual(await derive(password, salt, cost, parallel), hash)
  return isRight && password.at(-1) !== 0
}

/** A hash that no password has: unknown users cost what known ones do. */
export function decoyOf(like: PasswordHash | undefined): PasswordHash {
  return {
    cost: like?.cost ?? COST_DEFAULT,
    parallel: like?.parallel ?? 1,
    salt: randomBytes(SALT_BYTES),
    hash: randomBytes(HASH_BYTES),
  }
}

function derive(
  password: Uint8Array,
  salt: Uint8Array,
  cost: number,
  parallel: number,
): Promise<Buffer> {
  const options = { N: 2 ** cost, r: BLOCK, p: parallel, maxmem: 192 * MIB }
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, options, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

function text(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
