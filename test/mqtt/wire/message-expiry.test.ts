import { describe, expect, it } from 'vitest'
import { frontEnd } from '../../support/front-end.ts'

const expiring = (messageExpiryInterval: number) => ({
  qos: 1 as const,
  messageId: 1,
  properties: { contentType: 'x', userProperties: { a: 'b' }, messageExpiryInterval },
})

const keeper = {
  version: 5,
  clean: false,
  clientId: 'keeper',
  properties: { sessionExpiryInterval: 3600 },
} as const

describe('message expiry', () => {
  it('is forwarded as what is left of it [MQTT-3.3.2-6]', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(keeper)
    await first.subscribe('a', 1)
    first.end()
    const publisher = await fixture.connect({ version: 5 })
    publisher.publish('a', 'x', expiring(100))
    await publisher.packet('puback')
    fixture.clock.advance(30_900)
    const second = await fixture.connect(keeper)
    const packet = await second.packet('publish')
    expect(packet.properties).toMatchObject({
      messageExpiryInterval: 70,
      contentType: 'x',
      userProperties: { a: 'b' },
    })
  })

  it.each([4, 5] as const)('ends a message for version %i [MQTT-3.3.2-5]', async (version) => {
    const fixture = await frontEnd()
    const options = version === 5 ? keeper : { version, clean: false, clientId: 'keeper' }
    const first = await fixture.connect(options)
    await first.subscribe('a', 1)
    first.end()
    const publisher = await fixture.connect({ version: 5 })
    publisher.publish('a', 'gone', expiring(10))
    publisher.publish('a', 'there', expiring(11))
    await publisher.packet('puback', 1)
    fixture.clock.advance(10_000)
    const second = await fixture.connect(options)
    await second.packet('publish')
    await second.ping()
    expect(second.payloads).toEqual(['there'])
    expect(fixture.mqtt.stats.dropped.expired).toBe(1)
  })

  it('counts for live messages that waited, too', async () => {
    const fixture = await frontEnd({ maxInflight: 1 })
    const subscriber = await fixture.connect({ version: 5, acks: false })
    await subscriber.subscribe('a', 1)
    const publisher = await fixture.connect({ version: 5 })
    for (const lifeS of [10, 10, 20]) publisher.publish('a', String(lifeS), expiring(lifeS))
    await publisher.packet('puback', 2)
    const sent = await subscriber.packet('publish')
    expect(sent.properties?.messageExpiryInterval).toBe(10)
    fixture.clock.advance(15_000)
    subscriber.send({ cmd: 'puback', messageId: sent.messageId } as never)
    const next = await subscriber.packet('publish', 1)
    expect(next.payload.toString()).toBe('20')
    expect(next.properties?.messageExpiryInterval).toBe(5)
  })
})
