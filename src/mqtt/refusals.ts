/** How a refused login is said in CONNACK [MQTT5 3.2.2.2] [MQTT-3.2.2.3]. */
import type { Refusal } from '../access/access.ts'
import { Reason } from './wire/packets.ts'
import { refusingConnack } from './wire/reason-string.ts'

/**
 * MQTT 5's reason and its sentence, which tells no stranger more than the code does, and the return
 * code of MQTT 3.1 and 3.1.1.
 */
const codes: Readonly<
  Record<Refusal | 'client-id', readonly [reason: number, returnCode: number, sentence: string]>
> = {
  'bad-credentials': [Reason.badUserNameOrPassword, 4, 'the user name or the password is wrong'],
  'not-authorized': [Reason.notAuthorized, 5, 'this client may not connect as it asks to'],
  // "Server unavailable": the one code of MQTT 3.1.1 that says that trying again helps.
  'backing-off': [Reason.connectionRateExceeded, 3, 'too many logins have failed: try later'],
  busy: [Reason.serverBusy, 3, 'too many logins wait: try again'],
  // "Not allowed by the server", of both: another user has it.
  'client-id': [Reason.clientIdentifierNotValid, 2, 'the client id cannot be used'],
}

export function refusalConnack(refusal: Refusal | 'client-id', version: number): Uint8Array {
  const [reason, returnCode, sentence] = codes[refusal]
  return version === 5 ? refusingConnack(reason, sentence) : Uint8Array.of(0x20, 2, 0, returnCode)
}

/** No more sessions are kept [MQTT5 3.2.2.2]. */
export function sessionsFullConnack(version: number): Uint8Array {
  return version === 5
    ? refusingConnack(Reason.quotaExceeded, 'there are as many sessions as may be')
    : Uint8Array.of(0x20, 2, 0, 3)
}
