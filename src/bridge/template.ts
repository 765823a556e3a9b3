/**
 * Topic templates: where a record goes on the upstream, and where a command goes here.
 *
 * T1. Whatever the values are, the result is a valid topic name [MQTT-3.3.2-2] [MQTT-4.7.3-1]. Only
 *     a client id can bring characters that a topic may not have; the rest is parts of topics and
 *     names. So nothing has to be refused while records wait in order behind this one:
 *     - in `{client}`, the characters / + # % and controls are written as %2F %2B %23 %25 %00: a
 *       client is one level, and two clients never become one;
 *     - a result that values made begin with $ gets %24 instead, for such topics are the broker's
 *       own ($SYS, $share); a template that itself begins with $ keeps it ("$aws/rules/...");
 *     - an empty result becomes "_";
 *     - one longer than 65,535 bytes is cut and ends in "~" and 16 digits of a hash of all of it.
 */
import { createHash } from 'node:crypto'
import { assert } from '../base/assert.ts'

export interface TemplateValues {
  readonly gateway: string
  readonly topic: string
  readonly stream: string
  /** The publisher's client id, as it is. */
  readonly client: string
  /** What each + of the filter matched, in order: `{1}`, `{2}`, ... */
  readonly captures: readonly string[]
  /** What # matched: `{#}`. */
  readonly rest: string
}

export type Template = (values: TemplateValues) => string

type Piece = (values: TemplateValues) => string

const TOPIC_BYTES_MAX = 65_535
const HASH_DIGITS = 16
const PLACEHOLDER = /\{(?:gateway|topic|stream|client|#|[1-9]\d{0,2})\}/g

/**
 * Reads a template once, so that filling it in costs one string. `text` is a topic in which
 * `{gateway} {topic} {stream} {client} {#} {1}` ... may stand; other braces are characters. A
 * number without its + is the empty text. The configuration has checked the rest of it.
 */
export function compileTemplate(text: string): Template {
  const literals = text.split(PLACEHOLDER)
  const wildcard = literals.some((literal) => /[+#]/.test(literal) || literal.includes('\0'))
  assert(!wildcard, `the template ${text} has no wildcard of its own`)
  const pieces = [...text.matchAll(PLACEHOLDER)].map(([placeholder]) => pieceOf(placeholder))
  const [head = ''] = literals
  const keepsDollar = head.startsWith('$')
  return (values) => {
    let topic = head
    for (let index = 0; index < pieces.length; index++) {
      topic += (pieces[index] as Piece)(values) + (literals[index + 1] as string)
    }
    return validTopic(topic, keepsDollar)
  }
}

/**
 * What the wildcards of a valid filter matched; undefined when the filter does not match. As in
 * clause 4.7: `a/#` matches `a` with an empty rest, and no wildcard at the front matches a $.
 */
export function matchCaptures(
  filter: string,
  topic: string,
): { readonly captures: readonly string[]; readonly rest: string } | undefined {
  if (topic.startsWith('$') && (filter.startsWith('#') || filter.startsWith('+'))) return undefined
  const wanted = filter.split('/')
  const levels = topic.split('/')
  const captures: string[] = []
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return { captures, rest: levels.slice(index).join('/') }
    const level = levels[index]
    if (level === undefined || (want !== '+' && want !== level)) return undefined
    if (want === '+') captures.push(level)
  }
  return wanted.length === levels.length ? { captures, rest: '' } : undefined
}

function pieceOf(placeholder: string): Piece {
  switch (placeholder) {
    case '{gateway}':
      return ({ gateway }) => gateway
    case '{topic}':
      return ({ topic }) => topic
    case '{stream}':
      return ({ stream }) => stream
    case '{client}':
      return ({ client }) => oneLevel(client)
    case '{#}':
      return ({ rest }) => rest
    default: {
      const index = Number(placeholder.slice(1, -1)) - 1
      return ({ captures }) => captures[index] ?? ''
    }
  }
}

const NOT_A_LEVEL = /[/+#%\p{Cc}]/gu

function oneLevel(client: string): string {
  return client.replace(NOT_A_LEVEL, percent)
}

function percent(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

function validTopic(filled: string, keepsDollar: boolean): string {
  if (filled === '') return '_'
  const topic = !keepsDollar && filled.startsWith('$') ? `%24${filled.slice(1)}` : filled
  // A UTF-16 unit is at most three bytes: nearly every topic ends here.
  if (topic.length * 3 <= TOPIC_BYTES_MAX) return topic
  const bytes = Buffer.from(topic)
  if (bytes.length <= TOPIC_BYTES_MAX) return topic
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, HASH_DIGITS)
  let end = TOPIC_BYTES_MAX - HASH_DIGITS - 1
  // Not within a character: its further bytes begin with the bits 10.
  while (((bytes[end] as number) & 0xc0) === 0x80) end--
  return `${bytes.toString('utf8', 0, end)}~${hash}`
}
