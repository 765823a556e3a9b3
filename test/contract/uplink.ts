/** What every implementation of `Uplink` must do; U1 to U4 are in src/bridge/uplink.ts. */
import { expect, test } from 'vitest'
import {
  type CloseReason,
  type InboundMessage,
  OutboundMessage,
  type Uplink,
  type UplinkConnection,
  type UplinkEvents,
} from '../../src/bridge/uplink.ts'
import { eventually } from '../support/front-end.ts'

/** An upstream with one uplink to it; `arrived` is what the upstream has been given. */
export interface UplinkFixture {
  readonly uplink: Uplink
  /** Payloads as text, in order of arrival. */
  arrived(): readonly string[]
  /** Sends a message to whoever subscribes. */
  send(topic: string, payload: string): Promise<unknown>
  /** Breaks the connection from the upstream's side. */
  cut(): void
  /** From now on the upstream acknowledges nothing. */
  holdAcks(): void
  /** Nobody listens at the upstream any more. */
  refuse(): Promise<void>
}

class Recorder implements UplinkEvents {
  connections = 0
  readonly closings: CloseReason[] = []
  readonly messages: InboundMessage[] = []
  readonly taken: (() => void)[] = []
  rooms = 0

  connected(): void {
    this.connections++
  }

  message(message: InboundMessage, taken: () => void): void {
    this.messages.push(message)
    this.taken.push(taken)
  }

  roomy(): void {
    this.rooms++
  }

  closed(reason: CloseReason): void {
    this.closings.push(reason)
  }
}

const local: CloseReason = { kind: 'local', sentence: 'the test ends it' }

export function testUplink(open: () => Promise<UplinkFixture>): void {
  const connect = async (fixture: UplinkFixture) => {
    const events = new Recorder()
    const connection = fixture.uplink.connect(events)
    await eventually(() => events.connections === 1, 'it connects')
    return { events, connection }
  }

  const publish = (
    connection: UplinkConnection,
    payload: string,
    qos: 0 | 1 | 2 = 1,
    topic = 'up/t',
  ): { reasons: number[] } => {
    const message = new OutboundMessage()
    message.topic = Buffer.from(topic)
    message.payload = Buffer.from(payload)
    message.qos = qos
    const told = { reasons: [] as number[] }
    connection.publish(message, { settled: (reason) => told.reasons.push(reason) })
    // U4: what is done to it now changes nothing.
    message.payload.fill(0)
    return told
  }

  test.each([0, 1, 2] as const)('settles each message of QoS %d once (U1)', async (qos) => {
    const fixture = await open()
    const { events, connection } = await connect(fixture)
    const all = ['a', 'b', 'c'].map((payload) => publish(connection, payload, qos))
    connection.flush()
    await eventually(() => all.every(({ reasons }) => reasons.length > 0), 'all are settled')
    await eventually(() => fixture.arrived().length === 3, 'all arrive')
    expect(fixture.arrived()).toEqual(['a', 'b', 'c'])
    connection.close(local)
    await eventually(() => events.closings.length === 1, 'it ends')
    expect(all.map(({ reasons }) => reasons)).toEqual([[0], [0], [0]])
    expect(events.closings).toEqual([local])
  })

  test('settles nothing after the connection broke, and says once that it did (U1, U2)', async () => {
    const fixture = await open()
    const { events, connection } = await connect(fixture)
    fixture.holdAcks()
    const told = publish(connection, 'lost')
    connection.flush()
    await eventually(() => connection.inflight === 1, 'it is in flight')
    fixture.cut()
    await eventually(() => events.closings.length === 1, 'the end is told')
    connection.close(local)
    await new Promise((resolve) => setImmediate(resolve))
    expect(told.reasons).toEqual([])
    expect(events.closings).toHaveLength(1)
    expect(events.closings[0]?.kind).toBe('lost')
    expect(connection.hasRoom).toBe(false)
  })

  test('has no room beyond its bound, and says when it has again (U3)', async () => {
    const fixture = await open()
    const { events, connection } = await connect(fixture)
    const most = connection.inflightMax
    let count = 0
    while (connection.hasRoom && count <= most) {
      publish(connection, `m${count}`)
      count++
    }
    expect(count).toBeLessThanOrEqual(most)
    expect(connection.inflight).toBeLessThanOrEqual(most)
    connection.flush()
    await eventually(() => events.rooms > 0 && connection.inflight === 0, 'there is room again')
    connection.close(local)
    await eventually(() => events.closings.length === 1, 'it ends')
  })

  test('hands messages of the upstream on, one by one', async () => {
    const fixture = await open()
    const { events, connection } = await connect(fixture)
    await connection.subscribe(['down/#'])
    void fixture.send('down/a', '1')
    await eventually(() => events.messages.length === 1, 'the first arrives')
    void fixture.send('down/b', '2')
    await eventually(() => events.messages.length === 2, 'the second arrives, untaken the first')
    for (const taken of events.taken) taken()
    expect(events.messages.map(({ topic }) => topic)).toEqual(['down/a', 'down/b'])
    expect(events.messages.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      '1',
      '2',
    ])
    connection.close(local)
    await eventually(() => events.closings.length === 1, 'it ends')
  })

  test('says that nobody is there, and ends that connection', async () => {
    const fixture = await open()
    await fixture.refuse()
    const events = new Recorder()
    const connection = fixture.uplink.connect(events)
    await eventually(() => events.closings.length === 1, 'it is told')
    expect(events.closings[0]?.kind).toBe('refused')
    expect(events.connections).toBe(0)
    expect(connection.hasRoom).toBe(false)
  })

  test('connects again with nothing of the connection before', async () => {
    const fixture = await open()
    const first = await connect(fixture)
    fixture.cut()
    await eventually(() => first.events.closings.length === 1, 'the first ends')
    const second = await connect(fixture)
    expect(second.connection.inflight).toBe(0)
    const told = publish(second.connection, 'after')
    second.connection.flush()
    await eventually(() => told.reasons.length === 1, 'it is settled')
    second.connection.close(local)
    await eventually(() => second.events.closings.length === 1, 'the second ends')
    expect(first.events.closings).toHaveLength(1)
  })
}
