/** What the tests of this folder share: packets by the byte, and clients in their usual roles. */
import type { IPublishPacket } from 'mqtt-packet'
import { eventually, type Fixture } from '../support/front-end.ts'
import type { ConnectOptions, RawClient } from '../support/raw-client.ts'
import { packet, string } from '../support/wire.ts'

export const versions = [4, 5] as const
export type Version = (typeof versions)[number]

/** An empty property block, where the version has one. */
export const noProperties = (version: Version): readonly number[] => (version === 5 ? [0] : [])

/** A property block of whole properties. */
export function properties(...parts: (Buffer | readonly number[])[]): Buffer {
  const block = Buffer.concat(parts.map((part) => Buffer.from(part as Buffer)))
  if (block.length > 127) throw new Error('the length of this block needs more than a byte')
  return Buffer.concat([Buffer.of(block.length), block])
}

/** Bytes that are no UTF-8: the code point of half a surrogate pair. */
export const SURROGATE = Buffer.of(0xed, 0xa0, 0x80)

export interface ConnectBytes {
  readonly name?: string
  readonly level?: number
  readonly flags?: number
  readonly keepAliveS?: number
  /** Of MQTT 5, with its length. */
  readonly properties?: Buffer
  readonly id?: string | Buffer
  /** The payload behind the client id. */
  readonly payload?: readonly Buffer[]
}

export function connectBytes(version: Version, more: ConnectBytes = {}): Buffer {
  const { name = 'MQTT', level = version, flags = 2, keepAliveS = 0 } = more
  const block = more.properties ?? Buffer.from(noProperties(version))
  const head = Buffer.of(level, flags, keepAliveS >> 8, keepAliveS & 255)
  const id = string(more.id ?? 'someone')
  return packet(0x10, string(name), head, block, id, ...(more.payload ?? []))
}

/** A session that outlives its connection. */
export function lasting(version: Version, more: ConnectOptions = {}): ConnectOptions {
  const kept = { sessionExpiryInterval: 3600, ...more.properties }
  return {
    version,
    clean: false,
    clientId: 'keeper',
    ...more,
    ...(version === 5 ? { properties: kept } : {}),
  }
}

export const isPresent = (client: RawClient): boolean | undefined =>
  client.of('connack')[0]?.sessionPresent

/** Cuts the connection and waits until the gateway has seen it. */
export async function cut({ mqtt }: Fixture, client: RawClient): Promise<void> {
  const { stats } = mqtt
  const before = stats.connections
  client.end()
  await eventually(() => stats.connections < before, 'the connection has ended')
}

/** One message, acknowledged as far as its QoS has it. */
export async function publish(
  client: RawClient,
  topic: string,
  payload: string,
  more: Partial<IPublishPacket> = {},
): Promise<void> {
  const qos = more.qos ?? 0
  const acks = client.of(qos === 2 ? 'pubcomp' : 'puback').length
  client.publish(topic, payload, { messageId: 100 + acks, ...more })
  if (qos === 0) return await client.ping()
  if (qos === 1) return void (await client.packet('puback', acks))
  const messageId = more.messageId ?? 100 + acks
  await client.until(
    () => client.of('pubrec').some((pubrec) => pubrec.messageId === messageId),
    'PUBREC',
  )
  client.send({ cmd: 'pubrel', messageId } as never)
  await client.packet('pubcomp', acks)
}

/** What a client got and how: `topic payload qos retain`. */
export function told({ topic, payload, qos, retain }: IPublishPacket): string {
  return `${topic} ${payload} ${qos}${retain ? ' retained' : ''}`
}

export const allTold = (client: RawClient): string[] => client.publishes.map(told)
