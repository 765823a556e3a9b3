/** One secret in a file of its own, such as the token of the HTTP side. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'

/** 96 bits in hexadecimal: below that a token can be guessed over a fast network. */
const TOKEN_CHARACTERS_MIN = 16
const TOKEN_CHARACTERS_MAX = 4096

/** A token that requests are compared with; the text itself is not kept. */
export class Token {
  private readonly digest: Buffer

  constructor(text: string) {
    this.digest = digestOf(text)
  }

  /** In constant time: digests have one length, whatever was sent. */
  isRight(text: string): boolean {
    return timingSafeEqual(this.digest, digestOf(text))
  }
}

/** Reads a token file: one line. Throws `access-invalid`, never with its content. */
export function readToken(file: string): Token {
  let text: string
  try {
    text = readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const why = codeOf(cause) === 'ENOENT' ? 'there is no such file' : messageOf(cause)
    const message = `the token file ${file} cannot be read: ${why}`
    throw new SluiceError('access-invalid', message, { cause })
  }
  if (text.length < TOKEN_CHARACTERS_MIN || text.length > TOKEN_CHARACTERS_MAX) {
    const message =
      `the token in ${file} has ${text.length} characters, expected ` +
      `${TOKEN_CHARACTERS_MIN} to ${TOKEN_CHARACTERS_MAX}`
    throw new SluiceError('access-invalid', message)
  }
  if (/[^\x21-\x7e]/.test(text)) {
    const message = `the token in ${file} has characters that an HTTP header cannot carry`
    throw new SluiceError('access-invalid', message)
  }
  return new Token(text)
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
