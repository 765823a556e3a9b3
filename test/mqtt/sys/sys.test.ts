import { describe, expect, it } from 'vitest'
import { Load } from '../../../src/mqtt/sys/load.ts'
import { frontEnd } from '../../support/front-end.ts'
import type { RawClient } from '../../support/raw-client.ts'

const value = (client: RawClient, name: string) =>
  client.publishes
    .filter(({ topic }) => topic === `$SYS/broker/${name}`)
    .at(-1)
    ?.payload.toString()

const retained = (client: RawClient) => client.publishes.filter((packet) => packet.retain)

describe('$SYS', () => {
  it('gives a new subscriber the values of now, with the retain flag', async () => {
    const { connect } = await frontEnd()
    const client = await connect()
    await client.subscribe('$SYS/#', 0)
    await client.until(() => value(client, 'version') !== undefined, 'the version')
    await client.until(() => value(client, 'load/bytes/sent/15min') !== undefined, 'all')
    expect(value(client, 'version')).toBe('sluice version 1.2.3')
    expect(value(client, 'uptime')).toBe('0 seconds')
    expect(value(client, 'clients/connected')).toBe('0')
    expect(retained(client)).toHaveLength(client.publishes.length)
  })

  it('says each 10 seconds what changed, without the retain flag', async () => {
    const { connect, clock } = await frontEnd()
    const client = await connect()
    await client.subscribe('$SYS/broker/+/#', 0)
    await client.until(() => value(client, 'heap/current') !== undefined, 'the first values')
    const before = retained(client).length
    const other = await connect()
    other.publish('a', 'twelve bytes', { qos: 1, messageId: 1, retain: true })
    await other.packet('puback')
    clock.advance(10_000)
    await client.until(() => value(client, 'clients/connected') === '2', 'the new values')
    await client.ping()
    expect(retained(client)).toHaveLength(before)
    const expected = {
      'clients/total': '2',
      'clients/maximum': '2',
      'publish/messages/received': '1',
      'publish/bytes/received': '12',
      'retained messages/count': '1',
      'subscriptions/count': '1',
      'load/publish/received/1min': (6 * (1 - Math.exp(-1 / 6))).toFixed(2),
    }
    for (const [name, wanted] of Object.entries(expected)) {
      await client.until(() => value(client, name) === wanted, `${name} ${wanted}`)
    }
    expect(Number(value(client, 'messages/received'))).toBeGreaterThanOrEqual(4)
    expect(Number(value(client, 'bytes/sent'))).toBeGreaterThan(100)
  })

  it('is not matched by a leading wildcard, and is not in the log', async () => {
    const { connect, clock, records } = await frontEnd()
    const client = await connect()
    await client.subscribe('#', 0)
    await client.subscribe('+/broker/version', 0)
    clock.advance(10_000)
    const watcher = await connect()
    await watcher.subscribe('$SYS/broker/uptime', 0)
    await watcher.until(() => value(watcher, 'uptime') === '10 seconds', 'the new values')
    await client.ping()
    expect(client.publishes).toEqual([])
    expect(records).toEqual([])
  })

  it.each([4, 5] as const)('takes nothing from a client of version %i', async (version) => {
    const { connect, records } = await frontEnd()
    const client = await connect({ version })
    const topic = '$SYS/broker/version'
    client.publish(topic, 'mine', { qos: 1, messageId: 1, retain: true })
    const { reasonCode } = await client.packet('puback')
    expect(reasonCode).toBe(version === 5 ? 0x87 : undefined)
    await client.subscribe(topic, 0)
    await client.packet('publish')
    expect(client.payloads).toEqual(['sluice version 1.2.3'])
    expect(records).toEqual([])
  })
})

describe('load averages', () => {
  it('come to the rate per minute, the short ones first', () => {
    const load = new Load()
    for (let i = 1; i <= 30; i++) load.update(i * 100, 10_000)
    const [one, five, fifteen] = load.values().map(([, text]) => Number(text))
    expect(one).toBeCloseTo(600 * (1 - Math.exp(-5)), 0)
    expect(five).toBeCloseTo(600 * (1 - Math.exp(-1)), 0)
    expect(fifteen).toBeCloseTo(600 * (1 - Math.exp(-1 / 3)), 0)
  })
})
