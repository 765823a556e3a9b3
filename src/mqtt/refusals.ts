/** How a refused login is said in CONNACK [MQTT5 3.2.2.2] [MQTT-3.2.2.3]. */
import type { Refusal } from '../access/access.ts'
import { Reason } from './wire/packets.ts'

/** MQTT 5's reason, and the return code of MQTT 3.1 and 3.1.1. */
const codes: Readonly<
  Record<Refusal | 'client-id', readonly [reason: number, returnCode: number]>
> = {
  'bad-credentials': [Reason.badUserNameOrPassword, 4],
  'not-authorized': [Reason.notAuthorized, 5],
  // "Server unavailable": the one code of MQTT 3.1.1 that says that trying again helps.
  'backing-off': [Reason.connectionRateExceeded, 3],
  busy: [Reason.serverBusy, 3],
  // "Not allowed by the server", of both: another user has it.
  'client-id': [Reason.clientIdentifierNotValid, 2],
}

export function refusalConnack(refusal: Refusal | 'client-id', version: number): Uint8Array {
  const [reason, returnCode] = codes[refusal]
  return version === 5
    ? Uint8Array.of(0x20, 3, 0, reason, 0)
    : Uint8Array.of(0x20, 2, 0, returnCode)
}

/** No more sessions are kept [MQTT5 3.2.2.2]. */
export function sessionsFullConnack(version: number): Uint8Array {
  return version === 5
    ? Uint8Array.of(0x20, 3, 0, Reason.quotaExceeded, 0)
    : Uint8Array.of(0x20, 2, 0, 3)
}
