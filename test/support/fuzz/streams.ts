/**
 * Streams of control packets as a talkative client might send them: a CONNECT, then anything. Each
 * packet on its own is well-formed; in this order and with these identifiers they often are not
 * what the standard allows, which is half of the point.
 */
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { SeededRandom } from '../../../src/base/random.ts'

export type Version = 4 | 5

const LEVELS = ['a', 'b', 'plant', '', 'ü', '0', '$SYS', 'x'.repeat(40)]
const FILTER_LEVELS = [...LEVELS, '+', '+', '#']
const PREFIXES = ['$share/g/', '$stream/', '$queue/', '$share/g/$stream/', '$share//', '$share/+/']
/** Few, so that streams meet: take-over, sessions that come back, wills. */
const CLIENT_IDS = 12

/** A CONNECT and `count` packets behind it, each as bytes. */
export function stream(random: SeededRandom, version: Version, count: number): Buffer[] {
  const packets = [generate(connect(random, version), version)]
  for (let i = 0; i < count; i++) packets.push(generate(anyPacket(random, version), version))
  return packets
}

function generate(packet: Packet, version: Version): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: version })
}

function connect(random: SeededRandom, version: Version): Packet {
  const clean = !random.oneIn(3)
  const will = {
    topic: `will/${topic(random)}`,
    payload: payload(random),
    qos: random.below(3),
    retain: random.oneIn(4),
    ...(version === 5 ? { properties: { willDelayInterval: random.below(3) } } : {}),
  }
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: version,
    clean,
    clientId: clean && random.oneIn(6) ? '' : `fuzz-${random.below(CLIENT_IDS)}`,
    keepalive: random.below(100),
    ...(random.oneIn(3) ? { will } : {}),
    ...(random.oneIn(5) ? { username: 'u', password: Buffer.from('p') } : {}),
    ...(version === 5 ? { properties: connectProperties(random) } : {}),
  } as Packet
}

function connectProperties(random: SeededRandom): object {
  return {
    ...(random.oneIn(3) ? { sessionExpiryInterval: random.below(1000) } : {}),
    ...(random.oneIn(3) ? { receiveMaximum: 1 + random.below(20) } : {}),
    ...(random.oneIn(3) ? { maximumPacketSize: 20 + random.below(2000) } : {}),
    ...(random.oneIn(3) ? { topicAliasMaximum: random.below(20) } : {}),
    ...(random.oneIn(3) ? { requestProblemInformation: random.oneIn(2) } : {}),
    ...(random.oneIn(5) ? { requestResponseInformation: random.oneIn(2) } : {}),
    ...(random.oneIn(4) ? { userProperties: { k: ['v', 'w'], '': '' } } : {}),
  }
}

function anyPacket(random: SeededRandom, version: Version): Packet {
  const kind = random.below(20)
  if (kind < 9) return publish(random, version)
  if (kind < 12) return subscribe(random, version)
  if (kind === 12) {
    return {
      cmd: 'unsubscribe',
      messageId: id(random),
      unsubscriptions: [filter(random)],
    } as Packet
  }
  if (kind === 13) return { cmd: 'pingreq' } as Packet
  if (kind === 14 && random.oneIn(4)) return disconnect(random, version)
  if (kind === 15 && random.oneIn(4)) return connect(random, version)
  const cmd = random.pick(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const)
  const reasonCode = version === 5 && random.oneIn(3) ? random.pick([0, 0x10, 0x80, 0x92]) : 0
  return { cmd, messageId: id(random), reasonCode } as Packet
}

function publish(random: SeededRandom, version: Version): Packet {
  const qos = random.below(3)
  const alias = version === 5 && random.oneIn(4) ? random.below(40) : 0
  const properties = {
    ...(alias > 0 ? { topicAlias: alias } : {}),
    ...(random.oneIn(4) ? { messageExpiryInterval: random.below(5) } : {}),
    ...(random.oneIn(4) ? { contentType: 'text', responseTopic: 'r/x' } : {}),
    ...(random.oneIn(4) ? { correlationData: Buffer.alloc(random.below(40)) } : {}),
    ...(random.oneIn(4) ? { userProperties: { a: ['1', '2'], b: '3' } } : {}),
    ...(random.oneIn(4) ? { payloadFormatIndicator: random.oneIn(2) } : {}),
  }
  return {
    cmd: 'publish',
    topic: alias > 0 && random.oneIn(2) ? '' : topic(random),
    payload: payload(random),
    qos,
    dup: qos > 0 && random.oneIn(4),
    retain: random.oneIn(5),
    ...(qos > 0 ? { messageId: id(random) } : {}),
    ...(version === 5 ? { properties } : {}),
  } as Packet
}

function subscribe(random: SeededRandom, version: Version): Packet {
  const subscriptions = Array.from({ length: 1 + random.below(3) }, () => ({
    topic: filter(random),
    qos: random.below(3),
    ...(version === 5 ? { nl: random.oneIn(4), rap: random.oneIn(4), rh: random.below(3) } : {}),
  }))
  const properties = {
    ...(random.oneIn(3) ? { subscriptionIdentifier: 1 + random.below(300) } : {}),
    ...(random.oneIn(4) ? { userProperties: { 'stream-offset': 'earliest' } } : {}),
  }
  return {
    cmd: 'subscribe',
    messageId: id(random),
    subscriptions,
    ...(version === 5 ? { properties } : {}),
  } as Packet
}

function disconnect(random: SeededRandom, version: Version): Packet {
  const reasonCode = random.oneIn(2) ? 0 : 4
  const properties = random.oneIn(3) ? { sessionExpiryInterval: random.below(100) } : {}
  return (
    version === 5 ? { cmd: 'disconnect', reasonCode, properties } : { cmd: 'disconnect' }
  ) as Packet
}

const id = (random: SeededRandom): number => 1 + random.below(30)

function payload(random: SeededRandom): Buffer {
  return Buffer.alloc(random.oneIn(30) ? random.below(20_000) : random.below(60), 'p')
}

function levels(random: SeededRandom, of: readonly string[]): string {
  return Array.from({ length: 1 + random.below(4) }, () => random.pick(of)).join('/')
}

function topic(random: SeededRandom): string {
  return levels(random, LEVELS) || 'a'
}

function filter(random: SeededRandom): string {
  return (random.oneIn(5) ? random.pick(PREFIXES) : '') + levels(random, FILTER_LEVELS)
}
