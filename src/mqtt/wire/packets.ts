/**
 * The numbers of the wire: packet types [MQTT-2.1.2], reason codes [MQTT5 2.4] and the few packets
 * that are written by hand because they are sent for every message.
 */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const

export const Reason = {
  success: 0x00,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicNameInvalid: 0x90,
  packetIdentifierNotFound: 0x92,
  packetTooLarge: 0x95,
  topicAliasInvalid: 0x94,
  quotaExceeded: 0x97,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverBusy: 0x89,
  clientIdentifierNotValid: 0x85,
  noSubscriptionExisted: 0x11,
  topicFilterInvalid: 0x8f,
  receiveMaximumExceeded: 0x93,
  sharedNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
} as const

/** Identifiers of MQTT 5's properties [MQTT5 2.2.2.2]. */
export const Property = {
  payloadFormat: 1,
  messageExpiry: 2,
  contentType: 3,
  responseTopic: 8,
  correlationData: 9,
  subscriptionIdentifier: 11,
  sessionExpiry: 17,
  assignedClientIdentifier: 18,
  serverKeepAlive: 19,
  authenticationMethod: 21,
  authenticationData: 22,
  requestProblemInformation: 23,
  willDelay: 24,
  requestResponseInformation: 25,
  responseInformation: 26,
  reasonString: 31,
  receiveMaximum: 33,
  topicAliasMaximum: 34,
  topicAlias: 35,
  userProperty: 38,
  maximumPacketSize: 39,
} as const

/** Largest remaining length a fixed header can say [MQTT-2.2.3]. */
export const REMAINING_LENGTH_MAX = 268_435_455

/** Bytes of `n` as a variable byte integer. */
export function varintBytes(n: number): number {
  return n < 128 ? 1 : n < 16_384 ? 2 : n < 2_097_152 ? 3 : 4
}

/** Writes `n` as a variable byte integer at `at`; returns where it ends. */
export function writeVarint(target: Uint8Array, n: number, at: number): number {
  let rest = n
  let end = at
  while (rest > 127) {
    target[end++] = (rest & 127) | 128
    rest >>>= 7
  }
  target[end++] = rest
  return end
}
