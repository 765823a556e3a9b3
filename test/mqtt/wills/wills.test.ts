import { describe, expect, it } from 'vitest'
import { eventually, everything, type Fixture, frontEnd } from '../../support/front-end.ts'

const will = (more: object = {}) => ({
  topic: 'will',
  payload: Buffer.from('gone'),
  qos: 1,
  ...more,
})
const delayed = (delayS: number) => will({ properties: { willDelayInterval: delayS } })
const lasting = (expiryS: number) => ({ sessionExpiryInterval: expiryS })

const published = ({ records }: Fixture) =>
  records.filter((record) => record.will).map(({ topic }) => topic)

/** Wills that are still stored. */
async function stored({ log }: Fixture): Promise<number> {
  let count = 0
  for await (const _ of log.state.documents.load('will')) count++
  return count
}

async function nothingIsStored(fixture: Fixture): Promise<void> {
  await eventually(async () => (await stored(fixture)) === 0, 'no will is stored')
}

/** A whole round trip of another client: what was to happen at once has happened. */
async function settled(fixture: Fixture): Promise<void> {
  const other = await fixture.connect()
  other.publish('settled', 'x', { qos: 1, messageId: 1 })
  await other.packet('puback')
  other.end()
}

describe.each([4, 5] as const)('wills over MQTT version %i', (version) => {
  it('W2: is published when the connection is lost', async () => {
    const fixture = await frontEnd()
    const subscriber = await fixture.connect({ version })
    await subscriber.subscribe('will', 2)
    const client = await fixture.connect({ version, clientId: 'sensor', will: will({ qos: 2 }) })
    client.end()
    expect(await subscriber.packet('publish')).toMatchObject({ topic: 'will', qos: 2 })
    expect(fixture.records[0]).toMatchObject({ client: 'sensor', will: true, retain: false })
    await nothingIsStored(fixture)
  })

  it('W2: is not published after DISCONNECT', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version, will: will() })
    client.send({ cmd: 'disconnect' } as never)
    await client.closing()
    await nothingIsStored(fixture)
    expect(published(fixture)).toEqual([])
  })

  it('is published when the client breaks the protocol', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version, will: will() })
    client.bytes(Buffer.of(0xf0, 0xff, 0xff, 0xff, 0xff))
    await eventually(() => published(fixture).length === 1, 'the will')
  })

  it('is published when the client is silent for too long', async () => {
    const fixture = await frontEnd()
    await fixture.connect({ version, will: will(), keepalive: 1 })
    await eventually(() => published(fixture).length === 1, 'the will')
  })

  it('is published when another connection takes the client id', async () => {
    const fixture = await frontEnd()
    await fixture.connect({ version, clientId: 'one', will: will() })
    await fixture.connect({ version, clientId: 'one', will: will({ topic: 'other' }) })
    await eventually(() => published(fixture).length === 1, 'the will')
    await settled(fixture)
    expect(published(fixture)).toEqual(['will'])
    expect(await stored(fixture)).toBe(1)
  })

  it('is published when the gateway stops, and retained if it asks for it', async () => {
    const fixture = await frontEnd()
    await fixture.connect({ version, will: will({ retain: true }) })
    await fixture.mqtt.close()
    expect(published(fixture)).toEqual(['will'])
    expect(fixture.records[0]?.retain).toBe(true)
    expect(fixture.mqtt.stats.retained).toBe(1)
    await nothingIsStored(fixture)
  })

  it('goes into the log also with QoS 0 and where no stream takes it', async () => {
    const fixture = await frontEnd({}, [{ ...everything, name: 'a', topics: ['a'], qos0: false }])
    const [one, two] = [
      await fixture.connect({ version, will: will({ topic: 'a', qos: 0 }) }),
      await fixture.connect({ version, will: will({ topic: 'b', qos: 0 }) }),
    ]
    one.end()
    two.end()
    await eventually(() => published(fixture).length === 2, 'both wills')
    expect(fixture.records.map(({ stream }) => stream).sort()).toEqual(['a', 'default'])
  })
})

describe('wills in MQTT 5', () => {
  it('is published after DISCONNECT with another reason than 0', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version: 5, will: will() })
    client.send({ cmd: 'disconnect', reasonCode: 0x04 } as never)
    await eventually(() => published(fixture).length === 1, 'the will')
  })

  it('W2: waits for its delay, which is not a property of the message', async () => {
    const fixture = await frontEnd()
    const subscriber = await fixture.connect({ version: 5 })
    await subscriber.subscribe('will', 1)
    const client = await fixture.connect({
      version: 5,
      will: delayed(60),
      properties: lasting(300),
    })
    client.end()
    await client.closing()
    await settled(fixture)
    fixture.clock.advance(59_000)
    await settled(fixture)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(published(fixture)).toEqual([])
    fixture.clock.advance(1000)
    const { properties } = await subscriber.packet('publish')
    expect(properties?.['willDelayInterval' as never]).toBeUndefined()
  })

  it('waits no longer than the session lives', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version: 5, will: delayed(60) })
    client.end()
    await eventually(() => published(fixture).length === 1, 'the will, with the session')
  })

  it('W2: is dropped when the client comes back to its session before', async () => {
    const fixture = await frontEnd()
    const options = { version: 5, clientId: 'one', clean: false, properties: lasting(300) } as const
    const client = await fixture.connect({ ...options, will: delayed(60) })
    client.end()
    await eventually(() => fixture.mqtt.stats.connections === 0, 'the end of the connection')
    await fixture.connect(options)
    await nothingIsStored(fixture)
    fixture.clock.advance(120_000)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(published(fixture)).toEqual([])
  })

  it('is dropped when the client takes its session over from itself', async () => {
    const fixture = await frontEnd()
    const options = { version: 5, clientId: 'one', clean: false, properties: lasting(300) } as const
    const client = await fixture.connect({ ...options, will: delayed(60) })
    await fixture.connect(options)
    await client.closing()
    await nothingIsStored(fixture)
    expect(published(fixture)).toEqual([])
  })

  it('is published at once when the client comes back to begin anew', async () => {
    const fixture = await frontEnd()
    const options = { version: 5, clientId: 'one', properties: lasting(300) } as const
    const client = await fixture.connect({ ...options, will: delayed(60) })
    client.end()
    await eventually(() => fixture.mqtt.stats.connections === 0, 'the end of the connection')
    await fixture.connect({ ...options, clean: true })
    await eventually(() => published(fixture).length === 1, 'the will of the ended session')
  })
})

describe('storing wills', () => {
  it('W1: is on disk before CONNACK', async () => {
    const fixture = await frontEnd()
    const { documents } = fixture.log.state
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const putNow = documents.putNow.bind(documents)
    documents.putNow = async (writes) => {
      await held
      await putNow(writes)
    }
    const client = await fixture.open()
    client.send(client.connectPacket({ will: will() }))
    const other = await fixture.connect()
    await other.ping()
    expect(client.received).toEqual([])
    release()
    await client.packet('connack')
    expect(await stored(fixture)).toBe(1)
  })

  it('W4: is published later when its stream is full', async () => {
    const fixture = await frontEnd()
    fixture.log.setFull('default', 'no space')
    const client = await fixture.connect({ will: will() })
    client.end()
    await eventually(() => fixture.mqtt.stats.connections === 0, 'the end of the connection')
    await settled2(fixture)
    fixture.log.setFull('default', undefined)
    expect(published(fixture)).toEqual([])
    fixture.clock.advance(10_000)
    await eventually(() => published(fixture).length === 1, 'the will')
    await nothingIsStored(fixture)
  })
})

/** With a full log nobody gets an acknowledgement to wait for. */
async function settled2(fixture: Fixture): Promise<void> {
  const other = await fixture.connect()
  for (let i = 0; i < 5; i++) await other.ping()
}
