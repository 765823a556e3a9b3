/** What went wrong with a connection, as the library, the system or the broker says it. */
import { codeOf, messageOf } from '../base/errors.ts'
import type { CloseKind, CloseReason } from './uplink.ts'

interface Known {
  readonly kind: CloseKind
  readonly sentence: string
}

const known = (kind: CloseKind, sentence: string): Known => ({ kind, sentence })

/** CONNACK of MQTT 3.1.1 [MQTT-3.2.2-5]. */
const returnCodes: ReadonlyMap<number, Known> = new Map([
  [1, known('protocol', 'does not speak this version of MQTT: set protocol to the other')],
  [2, known('client-id', 'does not take this client id')],
  [3, known('unavailable', 'is there but does not serve now')],
  [4, known('bad-credentials', 'says that the user name or the password is wrong')],
  [5, known('not-authorized', 'does not let this client connect: user, password or certificate')],
])

/** CONNACK and DISCONNECT of MQTT 5 [MQTT5 2.4]. */
const reasonCodes: ReadonlyMap<number, Known> = new Map([
  [0x81, known('protocol', 'calls a packet malformed')],
  [0x82, known('protocol', 'calls a packet a protocol error')],
  [0x84, known('protocol', 'does not speak this version of MQTT: set protocol = 4')],
  [0x85, known('client-id', 'does not take this client id')],
  [0x86, known('bad-credentials', 'says that the user name or the password is wrong')],
  [0x87, known('not-authorized', 'does not authorise this client')],
  [0x88, known('unavailable', 'is there but does not serve now')],
  [0x89, known('unavailable', 'is busy')],
  [0x8a, known('not-authorized', 'has banned this client')],
  [0x8b, known('server-disconnected', 'shuts down')],
  [0x8c, known('bad-credentials', 'wants another way of authentication')],
  [0x8d, known('server-disconnected', 'has heard nothing for longer than the keep-alive')],
  [0x8e, known('server-disconnected', 'has another connection with this client id')],
  [0x90, known('server-disconnected', 'does not take a topic')],
  [0x93, known('server-disconnected', 'got more at once than its receive maximum')],
  [0x95, known('server-disconnected', 'got a packet larger than it takes')],
  [0x96, known('quota', 'says that messages come too fast')],
  [0x97, known('quota', 'says that a quota is used up')],
  [0x98, known('server-disconnected', 'was told by its operator to end the connection')],
  [0x99, known('server-disconnected', 'does not take the format of a payload')],
  [0x9a, known('server-disconnected', 'does not take retained messages')],
  [0x9b, known('server-disconnected', 'does not take this QoS')],
  [0x9c, known('server-disconnected', 'sends its clients to another server')],
  [0x9d, known('server-disconnected', 'has moved to another server')],
  [0x9f, known('quota', 'says that connections come too fast')],
  [0xa0, known('server-disconnected', 'ends connections after a time')],
])

const systemCodes: ReadonlyMap<string, Known> = new Map([
  ['ECONNREFUSED', known('refused', 'is not there: nobody listens at that address')],
  ['ENOTFOUND', known('name-unknown', 'has a name that nobody knows')],
  ['EAI_AGAIN', known('name-unknown', 'has a name that cannot be looked up now')],
  ['ETIMEDOUT', known('unreachable', 'does not answer')],
  ['EHOSTUNREACH', known('unreachable', 'cannot be reached: there is no way to it')],
  ['ENETUNREACH', known('unreachable', 'cannot be reached: there is no network')],
  ['ENETDOWN', known('unreachable', 'cannot be reached: the network is down')],
  ['ECONNRESET', known('lost', 'broke the connection')],
  ['EPIPE', known('lost', 'broke the connection')],
])

const TLS_CODE = /^ERR_(TLS|SSL|OSSL)|CERT|^EPROTO$|SELF_SIGNED|UNABLE_TO_|HOSTNAME_MISMATCH/

/** Of a CONNACK that refuses. */
export function connackReason(code: number, version: 4 | 5): CloseReason {
  const found = version === 4 ? returnCodes.get(code) : reasonCodes.get(code)
  return found ?? { kind: 'unavailable', sentence: `refused the connection with code ${code}` }
}

/** Of a DISCONNECT that the broker sent. */
export function disconnectReason(code: number, text: string | undefined): CloseReason {
  const found = reasonCodes.get(code)
  const said = text === undefined || text === '' ? '' : ` ("${text.slice(0, 200)}")`
  const sentence = found?.sentence ?? `ended the connection with reason 0x${code.toString(16)}`
  return { kind: found?.kind ?? 'server-disconnected', sentence: `${sentence}${said}` }
}

/** Of what a socket or the library threw. */
export function errorReason(thrown: unknown): CloseReason {
  const code = codeOf(thrown) ?? codeOf(firstOf(thrown)) ?? ''
  const found = systemCodes.get(code)
  if (found !== undefined) return { kind: found.kind, sentence: `${found.sentence} (${code})` }
  const message = messageOf(thrown)
  if (TLS_CODE.test(code)) {
    return { kind: 'tls-failed', sentence: `fails at TLS: ${message} (${code})` }
  }
  if (message === 'Keepalive timeout') {
    return { kind: 'half-open', sentence: 'is silent: connected, and no answer to a ping' }
  }
  if (message === 'connack timeout') {
    return { kind: 'unreachable', sentence: 'took the connection and never answered CONNECT' }
  }
  if (/unexpected server response/i.test(message)) {
    return { kind: 'protocol', sentence: `speaks no MQTT over WebSocket there: ${message}` }
  }
  return { kind: 'protocol', sentence: `failed: ${message}` }
}

/** Several addresses of one name fail together: the first says enough. */
function firstOf(thrown: unknown): unknown {
  return thrown instanceof AggregateError ? thrown.errors[0] : undefined
}
