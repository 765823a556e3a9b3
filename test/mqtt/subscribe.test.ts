import { describe, expect, it } from 'vitest'
import { frontEnd } from '../support/front-end.ts'

describe.each([4, 5] as const)('SUBSCRIBE of MQTT version %i', (version) => {
  it('is answered with a code for each filter, in their order', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    const filters = [
      ['b', 1],
      ['1', 0],
      ['b', 2],
      ['$stream/nothing', 1],
      ['a/'.repeat(150), 1],
    ] as const
    const subscriptions = filters.map(([topic, qos]) => ({ topic, qos }))
    client.send({ cmd: 'subscribe', messageId: 7, subscriptions } as never)
    const refused = version === 5 ? [0x8f, 0x8f] : [0x80, 0x80]
    expect(await client.packet('suback')).toMatchObject({
      messageId: 7,
      granted: [1, 0, 2, ...refused],
    })
    client.publish('b', 'x', { qos: 2, messageId: 1 })
    expect((await client.packet('publish')).qos).toBe(2)
  })

  it('grants a client a thousand filters, the same ones again, and no more', async () => {
    const { connect, mqtt } = await frontEnd()
    const client = await connect({ version })
    const filters = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ topic: `f/${from + i}`, qos: 0 }))
    const subscriptions = [...filters(0, 1001), ...filters(500, 1)]
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions } as never)
    const { granted } = await client.packet('suback')
    expect(granted.slice(998)).toEqual([0, 0, version === 5 ? 0x97 : 0x80, 0])
    expect(mqtt.stats.subscriptions).toBe(1000)
  })

  it('is undone by UNSUBSCRIBE, which says what was there', async () => {
    const { connect, mqtt } = await frontEnd()
    const client = await connect({ version })
    await client.subscribe('a', 1)
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a', 'b'] } as never)
    const unsuback = await client.packet('unsuback')
    if (version === 5) expect(unsuback).toMatchObject({ granted: [0, 0x11] })
    expect(mqtt.stats.subscriptions).toBe(0)
  })
})

it('MQTT 5: two subscription identifiers in one SUBSCRIBE end the connection', async () => {
  const { connect } = await frontEnd()
  const client = await connect({ version: 5 })
  client.bytes(Buffer.from([0x82, 11, 0, 1, 4, 11, 5, 11, 6, 0, 1, 0x61, 0]))
  expect((await client.packet('disconnect')).reasonCode).toBe(0x82)
})
