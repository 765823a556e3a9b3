import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { SLOW_DOWN_MS, SlowDown } from '../../src/mqtt/ingest/slow-down.ts'
import { eventually, everything, frontEnd } from '../support/front-end.ts'

const streams = [
  { ...everything, name: 'a', topics: ['a/#'] },
  { ...everything, name: 'rest' },
]
const why = 'the disk is below disk.min_free'

describe('a publisher to a full stream, over MQTT 5', () => {
  it('gets 0x97 for each message of QoS 1 and 2, keeps its connection and is not slowed', async () => {
    const { log, connect, records, mqtt, complaints } = await frontEnd({}, streams)
    const client = await connect({ version: 5 })
    log.setFull('a', why)
    client.publish('a/x', 'one', { qos: 1, messageId: 1 })
    client.publish('a/x', 'two', { qos: 2, messageId: 2 })
    expect(await client.packet('puback')).toMatchObject({ messageId: 1, reasonCode: 0x97 })
    expect(await client.packet('pubrec')).toMatchObject({ messageId: 2, reasonCode: 0x97 })
    client.publish('rest', 'three', { qos: 1, messageId: 3 })
    expect(await client.packet('puback', 1)).toMatchObject({ messageId: 3, reasonCode: 0 })
    expect(records.map(({ stream, position }) => [stream, position])).toEqual([['rest', 0]])
    expect(mqtt.stats.dropped['stream-full']).toBe(2)
    expect(mqtt.stats.acknowledged).toBe(1)
    expect(mqtt.stats.pausedPublishers).toBe(0)
    expect(complaints).toEqual([])
  })

  it('may use the identifier of a refused QoS 2 message again at once [MQTT-4.3.3-9]', async () => {
    const { log, connect, records } = await frontEnd({}, streams)
    const client = await connect({ version: 5 })
    log.setFull('a', why)
    client.publish('a/x', 'one', { qos: 2, messageId: 7 })
    await client.packet('pubrec')
    log.setFull('a', undefined)
    client.publish('a/x', 'two', { qos: 2, messageId: 7 })
    expect(await client.packet('pubrec', 1)).toMatchObject({ messageId: 7, reasonCode: 0 })
    expect(records).toHaveLength(1)
  })

  it('P2: is answered in the order of its messages, those before that wait for the disk first', async () => {
    const { log, connect } = await frontEnd({}, streams)
    const client = await connect({ version: 5 })
    log.hold()
    client.publish('a/x', 'x', { qos: 1, messageId: 1 })
    await client.ping()
    log.setFull('a', why)
    client.publish('a/x', 'x', { qos: 1, messageId: 2 })
    client.publish('rest', 'x', { qos: 1, messageId: 3 })
    await client.ping()
    log.setFull('a', undefined)
    client.publish('a/x', 'x', { qos: 1, messageId: 4 })
    await client.ping()
    expect(client.of('puback')).toHaveLength(0)
    log.release()
    await client.packet('puback', 3)
    expect(client.of('puback').map(({ messageId, reasonCode }) => [messageId, reasonCode])).toEqual(
      [
        [1, 0],
        [2, 0x97],
        [3, 0],
        [4, 0],
      ],
    )
  })
})

describe.each([3, 4] as const)('a publisher to a full stream, over MQTT version %i', (version) => {
  it('gets no ack and is not read until the stream takes records again', async () => {
    const { log, connect, records, mqtt } = await frontEnd({}, streams)
    const client = await connect({ version })
    log.setFull('a', why)
    client.publish('a/x', 'lost', { qos: 1, messageId: 1 })
    await eventually(() => mqtt.stats.pausedPublishers === 1, 'the publisher is slowed')
    client.publish('a/x', 'waits', { qos: 1, messageId: 2 })
    client.publish('rest', 'waits too', { qos: 2, messageId: 3 })
    // Another connection's packets are handled meanwhile, its own are not.
    const other = await connect({ version })
    await other.ping()
    expect(mqtt.stats.received).toEqual([0, 1, 0])
    log.setFull('a', undefined)
    expect((await client.packet('puback')).messageId).toBe(2)
    expect((await client.packet('pubrec')).messageId).toBe(3)
    expect(records.map(({ stream, position }) => `${stream} ${position}`).sort()).toEqual([
      'a 0',
      'rest 0',
    ])
    expect(client.of('puback')).toHaveLength(1)
    expect(mqtt.stats.pausedPublishers).toBe(0)
    expect(mqtt.stats.dropped['stream-full']).toBe(1)
  })

  it('may send the message again, with QoS 2 under the same identifier', async () => {
    const { log, connect, records, mqtt } = await frontEnd({}, streams)
    const client = await connect({ version })
    log.setFull('a', why)
    client.publish('a/x', 'x', { qos: 2, messageId: 9 })
    await eventually(() => mqtt.stats.pausedPublishers === 1, 'the publisher is slowed')
    log.setFull('a', undefined)
    client.publish('a/x', 'x', { qos: 2, messageId: 9, dup: true })
    expect((await client.packet('pubrec')).messageId).toBe(9)
    expect(records).toHaveLength(1)
  })

  it('leaves nothing behind when it goes while it is slowed', async () => {
    const { log, connect, mqtt } = await frontEnd({}, streams)
    const client = await connect({ version })
    log.setFull('a', why)
    client.publish('a/x', 'x', { qos: 1, messageId: 1 })
    await eventually(() => mqtt.stats.pausedPublishers === 1, 'the publisher is slowed')
    client.end()
    await eventually(() => mqtt.stats.pausedPublishers === 0, 'it is forgotten')
    log.setFull('a', undefined)
    expect(mqtt.stats.pausedPublishers).toBe(0)
  })
})

it.each([4, 5] as const)(
  'QoS 0 to a full stream is dropped and counted, version %i',
  async (version) => {
    const { log, connect, mqtt, records, complaints } = await frontEnd({}, streams)
    const client = await connect({ version })
    log.setFull('a', why)
    for (let i = 0; i < 3; i++) client.publish('a/x', 'zero')
    await client.ping()
    await eventually(() => mqtt.stats.dropped['stream-full'] === 3, 'all are counted')
    expect(records).toHaveLength(0)
    expect(mqtt.stats.pausedPublishers).toBe(0)
    expect(complaints).toEqual([])
  },
)

describe('slowed publishers', () => {
  function given() {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    let tell: (stream: string, reason: string | undefined) => void = () => undefined
    const slowDown = new SlowDown({
      onFull: (listener) => {
        tell = listener
      },
    })
    const hurried: string[] = []
    const publisher = (name: string) => ({ hurry: () => void hurried.push(name) })
    return {
      slowDown,
      hurried,
      publisher,
      tell: (stream: string, reason?: string) => tell(stream, reason),
    }
  }

  it('are read again after five seconds, each once', () => {
    const { slowDown, hurried, publisher, tell } = given()
    slowDown.hold(publisher('one'), 'a')
    vi.advanceTimersByTime(SLOW_DOWN_MS - 1)
    expect(hurried).toEqual([])
    vi.advanceTimersByTime(1)
    expect(hurried).toEqual(['one'])
    tell('a')
    expect(hurried).toEqual(['one'])
  })

  it('are read again when their own stream takes records, not when another does', () => {
    const { slowDown, hurried, publisher, tell } = given()
    slowDown.hold(publisher('one'), 'a')
    tell('b')
    tell('a', 'still full')
    expect(hurried).toEqual([])
    tell('a')
    expect(hurried).toEqual(['one'])
    vi.advanceTimersByTime(SLOW_DOWN_MS)
    expect(hurried).toEqual(['one'])
  })

  it('are forgotten when they go', () => {
    const { slowDown, hurried, publisher, tell } = given()
    const gone = publisher('one')
    slowDown.hold(gone, 'a')
    slowDown.forget(gone)
    tell('a')
    vi.advanceTimersByTime(SLOW_DOWN_MS)
    expect(hurried).toEqual([])
    expect(vi.getTimerCount()).toBe(0)
  })
})
