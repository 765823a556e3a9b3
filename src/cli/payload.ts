/**
 * What a payload is, found by looking at it: MQTT says nothing that could be relied on. JSON first;
 * then printable text; then CBOR, only if one array, map or tagged item fills the payload to its
 * last byte; otherwise it is bytes.
 */
import { cborToJson } from '../base/cbor-json.ts'

export type Payload =
  /** One JSON value, on one line and with every digit that was sent. */
  | { readonly kind: 'value'; readonly json: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'bytes' }

/** Control characters but tab, line feed and carriage return: not in text that devices send. */
const UNPRINTABLE = /[^\P{Cc}\t\n\r]/u

export function readPayload(bytes: Uint8Array): Payload {
  const text = utf8(bytes)
  if (text !== undefined) {
    // The text of the value and not its parsed form: JavaScript would round large numbers.
    // Line feeds and tabs stand only between JSON's tokens, so that a space does as well.
    if (isJson(text)) return { kind: 'value', json: text.trim().replace(/[\t\n\r]/g, ' ') }
    if (!UNPRINTABLE.test(text)) return { kind: 'text', text }
  }
  const json = cborToJson(bytes)
  return json === undefined ? { kind: 'bytes' } : { kind: 'value', json }
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}
