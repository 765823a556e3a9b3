import { describe, expect, it } from 'vitest'
import type { LogRecord } from '../../src/log/log.ts'
import { eventually, everything, frontEnd } from '../support/front-end.ts'

const text = (record: LogRecord) => Buffer.from(record.payload).toString()

describe.each([3, 4, 5] as const)('publishing over MQTT version %i', (version) => {
  it('P1: acknowledges QoS 1 and 2 only after the log has kept the message', async () => {
    const { log, connect, records } = await frontEnd()
    const client = await connect({ version })
    log.hold()
    client.publish('a', 'one', { qos: 1, messageId: 1 })
    client.publish('a', 'two', { qos: 2, messageId: 2 })
    await client.ping()
    expect(client.of('puback')).toHaveLength(0)
    expect(client.of('pubrec')).toHaveLength(0)
    log.release()
    await client.packet('puback')
    await client.packet('pubrec')
    expect(records.map((record) => [record.qos, text(record)])).toEqual([
      [1, 'one'],
      [2, 'two'],
    ])
  })

  it('keeps topic, client, QoS, retain and payload', async () => {
    const { connect, records } = await frontEnd()
    const client = await connect({ version, clientId: 'sensor-7' })
    client.publish('gebäude/ä/°', Buffer.from([0, 255, 128]), {
      qos: 1,
      messageId: 3,
      retain: true,
    })
    await client.packet('puback')
    const [record] = records
    expect(record).toMatchObject({
      topic: 'gebäude/ä/°',
      client: 'sensor-7',
      qos: 1,
      retain: true,
      stream: 'default',
      position: 0,
    })
    expect([...(record?.payload ?? [])]).toEqual([0, 255, 128])
  })

  it('P2: acknowledges in the order of the messages, also across streams', async () => {
    const { log, connect } = await frontEnd({}, [
      { ...everything, name: 'a', topics: ['a/#'] },
      { ...everything, name: 'rest' },
    ])
    const client = await connect({ version })
    log.hold()
    // The model settles stream by stream: "a" first, whatever came first.
    client.publish('rest', 'x', { qos: 1, messageId: 1 })
    client.publish('a/1', 'x', { qos: 2, messageId: 2 })
    client.publish('rest', 'x', { qos: 2, messageId: 3 })
    client.publish('a/2', 'x', { qos: 1, messageId: 4 })
    await client.ping()
    log.release()
    await client.until(() => client.received.length >= 6, 'four acks')
    const acks = client.received.filter(({ cmd }) => cmd === 'puback' || cmd === 'pubrec')
    expect(acks.map(({ messageId }) => messageId)).toEqual([1, 2, 3, 4])
  })

  it('P2: keeps a refused message in its turn', async () => {
    const { log, connect } = await frontEnd()
    const client = await connect({ version })
    log.hold()
    client.publish('a', 'x', { qos: 1, messageId: 1 })
    client.publish('$refused', 'x', { qos: 1, messageId: 2 })
    client.publish('a', 'x', { qos: 1, messageId: 3 })
    await client.ping()
    expect(client.of('puback')).toHaveLength(0)
    log.release()
    await client.packet('puback', 2)
    expect(client.of('puback').map(({ messageId }) => messageId)).toEqual([1, 2, 3])
  })

  it('P3: a PUBREL that comes before the commit is answered after it', async () => {
    const { log, connect } = await frontEnd()
    const client = await connect({ version })
    log.hold()
    client.publish('q', 'x', { qos: 2, messageId: 5 })
    client.send({ cmd: 'pubrel', messageId: 5 })
    await client.ping()
    expect(client.of('pubcomp')).toHaveLength(0)
    log.release()
    await client.packet('pubcomp')
    const acks = client.received.map(({ cmd }) => cmd).filter((cmd) => cmd.startsWith('pub'))
    expect(acks).toEqual(['pubrec', 'pubcomp'])
  })

  it('P3: appends a QoS 2 message once, sent again in the same write and before the commit', async () => {
    const { log, connect, records } = await frontEnd()
    const client = await connect({ version })
    log.hold()
    const first = { cmd: 'publish', topic: 'q', payload: 'x', qos: 2, messageId: 5, retain: false }
    client.send({ ...first, dup: false } as never, { ...first, dup: true } as never)
    await client.ping()
    client.send({ ...first, dup: true } as never)
    await client.ping()
    log.release()
    await client.packet('pubrec')
    client.send({ ...first, dup: true } as never)
    await client.packet('pubrec', 1)
    client.send({ cmd: 'pubrel', messageId: 5 }, { cmd: 'pubrel', messageId: 5 })
    await client.packet('pubcomp', 1)
    expect(records).toHaveLength(1)
    client.publish('q', 'next', { qos: 2, messageId: 5 })
    await eventually(() => records.length === 2, 'the identifier is used for the next message')
  })

  it('delivers what was kept also when its publisher has gone meanwhile', async () => {
    const { log, connect } = await frontEnd()
    const subscriber = await connect({ version })
    await subscriber.subscribe('a', 1)
    const publisher = await connect({ version })
    log.hold()
    publisher.publish('a', 'last words', { qos: 1, messageId: 1 })
    await publisher.ping()
    publisher.end()
    await publisher.closing()
    log.release()
    await subscriber.packet('publish')
    expect(subscriber.payloads).toEqual(['last words'])
  })

  it('ends the connection without an ack when storage refuses the message', async () => {
    const { log, connect, mqtt } = await frontEnd()
    const client = await connect({ version })
    log.fail('default', 'the disk is on fire')
    client.publish('a', 'x', { qos: 1, messageId: 1 })
    await client.closing()
    expect(client.of('puback')).toHaveLength(0)
    if (version === 5) expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x83 })
    expect(mqtt.stats.dropped['storage-refused']).toBe(1)
    expect(mqtt.stats.closed.storage).toBe(1)
  })

  it('gives a message that no stream takes to the subscribers of the moment', async () => {
    const { connect, records } = await frontEnd({}, [{ ...everything, topics: ['kept/#'] }])
    const client = await connect({ version })
    await client.subscribe('#', 2)
    client.publish('elsewhere', 'live', { qos: 1, messageId: 1 })
    await client.packet('puback')
    await client.packet('publish')
    expect(client.payloads).toEqual(['live'])
    expect(records).toHaveLength(0)
  })

  it('does not log QoS 0 where the stream says so', async () => {
    const { connect, records } = await frontEnd({}, [{ ...everything, qos0: false }])
    const client = await connect({ version })
    await client.subscribe('#', 0)
    client.publish('a', 'zero')
    client.publish('a', 'one', { qos: 1, messageId: 1 })
    await client.packet('publish', 1)
    expect(records.map(text)).toEqual(['one'])
  })

  it('publishes the will of a lost connection, not of one that said goodbye', async () => {
    const { connect, records } = await frontEnd()
    const will = { topic: 'wills/a', payload: Buffer.from('gone'), qos: 1, retain: false }
    const polite = await connect({ version, will })
    polite.send({ cmd: 'disconnect' } as never)
    await polite.closing()
    const lost = await connect({ version, will, clientId: 'lost-one' })
    lost.end()
    await eventually(() => records.length > 0, 'the will is published')
    const rest = await connect({ version })
    await rest.ping()
    expect(
      records.map((record) => [record.topic, record.client, record.qos, text(record)]),
    ).toEqual([['wills/a', 'lost-one', 1, 'gone']])
  })
})

describe('publishing over MQTT 5', () => {
  it('keeps the properties as they came and forwards them in order', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5 })
    await subscriber.subscribe('p', 1)
    const publisher = await connect({ version: 5 })
    // User properties a=1, b=2, a=3 and an empty value: grouping by name would lose their order.
    const properties = Buffer.from([
      ...[1, 1, 38, 0, 1, 97, 0, 1, 49, 38, 0, 1, 98, 0, 1, 50],
      ...[38, 0, 1, 97, 0, 1, 51, 38, 0, 1, 99, 0, 0],
    ])
    const body = Buffer.from([0, 1, 112, 0, 9, properties.length, ...properties, 120])
    publisher.bytes(Buffer.from([0x32, body.length, ...body]))
    const raw: Buffer[] = []
    subscriber.socket.on('data', (bytes) => raw.push(bytes))
    await subscriber.packet('publish')
    expect(Buffer.concat(raw).includes(properties)).toBe(true)
  })

  it('answers a PUBREL for an unknown identifier with 0x92', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    client.send({ cmd: 'pubrel', messageId: 77 })
    expect(await client.packet('pubcomp')).toMatchObject({ messageId: 77, reasonCode: 0x92 })
  })

  it('sends acks in the short form, which the smallest clients can parse', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    const raw: Buffer[] = []
    client.socket.on('data', (bytes) => raw.push(bytes))
    client.publish('a', 'x', { qos: 1, messageId: 258 })
    await client.packet('puback')
    expect([...Buffer.concat(raw)]).toEqual([0x40, 2, 1, 2])
  })

  it('does not publish the will delay as a property of the will', async () => {
    const { connect, records } = await frontEnd()
    const client = await connect({
      version: 5,
      will: {
        topic: 'w',
        payload: Buffer.from('x'),
        qos: 0,
        retain: false,
        properties: { willDelayInterval: 5, contentType: 'text/plain' },
      },
    })
    client.end()
    await eventually(() => records.length === 1, 'the will is published')
    expect(Buffer.from(records[0]?.properties ?? []).toString('latin1')).toBe('\x03\0\ntext/plain')
  })
})

describe('P4: what publishers have in flight', () => {
  it('is bounded per connection while the disk stands still, and nothing is lost', async () => {
    const { log, connect, mqtt, records } = await frontEnd()
    const client = await connect()
    log.hold()
    const count = 6000
    for (let id = 1; id <= count; id++) {
      client.publish('a', Buffer.alloc(1000, id), { qos: 1, messageId: id })
    }
    await eventually(() => mqtt.stats.pausedPublishers === 1, 'the publisher is not read any more')
    expect(log.backlogBytes).toBeLessThan(1024 * 1024 + 2000)
    log.release()
    await client.until(() => client.of('puback').length === count, 'all acks')
    expect(records).toHaveLength(count)
    expect(mqtt.stats.pausedPublishers).toBe(0)
  })

  it('is bounded over all of them', async () => {
    const { log, connect, mqtt } = await frontEnd({ maxPublishBacklogBytes: 512 * 1024 })
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect()))
    log.hold()
    for (const client of clients) {
      for (let id = 1; id <= 400; id++)
        client.publish('a', Buffer.alloc(1000), { qos: 1, messageId: id })
    }
    await eventually(() => mqtt.stats.pausedPublishers > 0, 'publishers are held back')
    expect(log.backlogBytes).toBeLessThan(512 * 1024 + clients.length * 2000)
    log.release()
    for (const client of clients) {
      await client.until(() => client.of('puback').length === 400, 'all acks')
    }
    expect(mqtt.stats.pausedPublishers).toBe(0)
  })

  it('does not end a paused publisher for its silence', async () => {
    const { log, connect, mqtt } = await frontEnd({ maxPublishBacklogBytes: 1 })
    const client = await connect({ keepalive: 1 })
    log.hold()
    client.publish('a', 'x', { qos: 1, messageId: 1 })
    await eventually(() => mqtt.stats.pausedPublishers === 1, 'the publisher is paused')
    // Its pings stay unread: by its keep-alive of 1 s it would be dead after 1.5 s, five pings.
    let pings = 0
    const timer = setInterval(() => {
      pings++
      client.send({ cmd: 'pingreq' } as never)
    }, 300)
    await eventually(() => pings >= 8, 'eight pings are sent')
    clearInterval(timer)
    expect(client.closed).toBe(false)
    log.release()
    await client.packet('puback')
    await client.packet('pingresp')
  })
})
