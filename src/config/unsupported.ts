/**
 * What the schema accepts and the gateway does not do yet. A row goes when its feature comes; only
 * what is written in the file is reported, and only where it asks for more than happens anyway.
 *
 * Two kinds: a setting that is ignored leaves the gateway useful and as closed as it was asked to
 * be; one that would leave a door more open than asked for (or speak another protocol on it)
 * refuses the start.
 */
import { tableOf } from './facts.ts'
import type { Fault } from './fault.ts'

export interface Unsupported extends Fault {
  /** The gateway must not start with it. */
  readonly refusesStart: boolean
}

interface Row {
  /** Keys joined by dots; `[]` is any place in a list. */
  readonly pattern: string
  readonly sentence: string
  readonly refusesStart?: true
  /** Whether this value asks for what is missing; without it every value does. */
  readonly when?: (value: unknown) => boolean
}

const rows: readonly Row[] = [
  {
    pattern: 'access',
    sentence: 'passwords and rules would not be checked, so the gateway does not start with them',
    refusesStart: true,
    // Everyone may connect and do everything: that is what happens.
    when: (value) => tableOf(value).anonymous !== true || Object.keys(tableOf(value)).length > 1,
  },
  {
    pattern: 'mqtt.listener[].tls',
    sentence:
      'the listener would be open without encryption, so the gateway does not start with it',
    refusesStart: true,
  },
  {
    pattern: 'mqtt.listener[].websocket',
    sentence: 'the listener would speak plain MQTT, so the gateway does not start with it',
    refusesStart: true,
    when: (value) => value !== false,
  },
  {
    pattern: 'http.token_file',
    sentence: 'the token would not be asked for, so the gateway does not start with it',
    refusesStart: true,
  },
  {
    pattern: 'mqtt.max_session_queue',
    sentence: 'it is ignored, an offline session gets nothing of what it missed',
  },
  {
    pattern: 'mqtt.session_expiry',
    sentence: 'it is ignored, a session ends with its connection',
  },
  {
    pattern: 'queue[]',
    sentence: 'it is ignored, its topics go to the first stream that matches',
  },
  {
    pattern: 'bridge[]',
    sentence: 'it is ignored, nothing is forwarded and nothing received',
  },
]

/** What of the parsed tree `source` is written and not built yet. */
export function unsupportedIn(source: unknown): Unsupported[] {
  return rows.flatMap(({ pattern, sentence, refusesStart, when }) =>
    matches(source, pattern.split('.'), '')
      .filter(({ value }) => when === undefined || when(value))
      .map(({ path }) => ({
        path,
        message: `not supported yet: ${sentence}`,
        refusesStart: refusesStart === true,
      })),
  )
}

interface Match {
  readonly path: string
  readonly value: unknown
}

function matches(value: unknown, steps: readonly string[], path: string): Match[] {
  const [step, ...rest] = steps
  if (step === undefined) return value === undefined ? [] : [{ path, value }]
  const key = step.replace('[]', '')
  const child: unknown = Object.entries(tableOf(value)).find(([name]) => name === key)?.[1]
  const childPath = path === '' ? key : `${path}.${key}`
  if (key === step) return matches(child, rest, childPath)
  if (!Array.isArray(child)) return []
  return child.flatMap((entry: unknown, index) => matches(entry, rest, `${childPath}[${index}]`))
}
