import { expect, it } from 'vitest'
import { BridgeMemory } from '../../src/bridge/echo.ts'
import { envelope } from '../../src/bridge/envelope.ts'
import {
  type Arrival,
  createReceiver,
  expirySecondsLeft,
  isStale,
  type ReceiveRule,
} from '../../src/bridge/receive.ts'
import { record } from '../support/record.ts'

const RULES: readonly ReceiveRule[] = [
  { from: 'sites/{gateway}/commands/#', to: 'commands/{#}', expiresMs: 600_000 },
  { from: 'fleet/+/config', to: 'config/{1}/{gateway}' },
  { from: 'raw/#', to: '{#}' },
]

function given() {
  const clock = { ms: 1000 }
  const filters = RULES.map(({ from }) => from.replace('{gateway}', 'gw-1'))
  const memory = new BridgeMemory(filters, () => clock.ms)
  const receiver = createReceiver(RULES, 'gw-1', memory)
  return { clock, memory, receiver, judge: (a: Arrival) => receiver.judge(a, clock.ms) }
}

const arrival = (more: Partial<Arrival> = {}): Arrival => ({
  topic: 'sites/gw-1/commands/pump/on',
  payload: Buffer.from('1'),
  retain: false,
  userProperties: [],
  expirySeconds: undefined,
  arrivedMs: 1000,
  ...more,
})

it('subscribes to its filters and maps topics', () => {
  const { receiver, judge } = given()
  expect(receiver.filters).toEqual(['sites/gw-1/commands/#', 'fleet/+/config', 'raw/#'])
  expect(judge(arrival())).toMatchObject({ kind: 'take', topic: 'commands/pump/on' })
  expect(judge(arrival({ topic: 'fleet/eu/config' }))).toEqual({
    kind: 'take',
    topic: 'config/eu/gw-1',
    staleMs: undefined,
  })
  expect(judge(arrival({ topic: 'elsewhere' }))).toEqual({ kind: 'skip', why: 'no-rule' })
})

it('lets nobody publish into what is the broker’s own', () => {
  expect(given().judge(arrival({ topic: 'raw/$SYS/x' }))).toMatchObject({ topic: '%24SYS/x' })
  expect(given().judge(arrival({ topic: 'raw/+' }))).toEqual({ kind: 'skip', why: 'no-rule' })
})

it('does not take back what names this gateway', () => {
  const { judge } = given()
  expect(judge(arrival({ userProperties: [['gateway', 'gw-1']] }))).toMatchObject({ why: 'own' })
  expect(judge(arrival({ userProperties: [['gateway', 'gw-2']] }))).toMatchObject({ kind: 'take' })
  const enveloped = (kind: 'cbor' | 'json', gateway: string) =>
    judge(arrival({ payload: envelope(kind, record(), gateway, 1) }))
  expect(enveloped('cbor', 'gw-1')).toMatchObject({ why: 'own' })
  expect(enveloped('json', 'gw-1')).toMatchObject({ why: 'own' })
  expect(enveloped('json', 'gw-2')).toMatchObject({ kind: 'take' })
})

it('knows the echo of what went up without a mark, once for each sending', () => {
  const { memory, judge, clock } = given()
  const { topic, payload } = arrival()
  memory.sent(topic, payload, false)
  memory.sent('not/received/here', payload, false)
  expect(judge(arrival({ payload: Buffer.from('2') }))).toMatchObject({ kind: 'take' })
  expect(judge(arrival())).toEqual({ kind: 'skip', why: 'own' })
  expect(judge(arrival())).toMatchObject({ kind: 'take' })
  memory.sent(topic, payload, false)
  clock.ms += 120_000
  expect(judge(arrival({ arrivedMs: clock.ms }))).toMatchObject({ kind: 'take' })
})

it('takes a retained message once, also after a restart, and a new one of its topic', () => {
  const { memory, judge } = given()
  const kept = arrival({ retain: true })
  expect(judge(kept)).toMatchObject({ kind: 'take' })
  memory.took(kept)
  expect(judge(kept)).toEqual({ kind: 'skip', why: 'seen' })
  expect(judge(arrival({ retain: true, payload: Buffer.from('2') }))).toMatchObject({
    kind: 'take',
  })
  expect(judge(arrival())).toMatchObject({ kind: 'take' })
  const next = given()
  next.memory.load(memory.seen())
  expect(next.judge(kept)).toEqual({ kind: 'skip', why: 'seen' })
})

it('knows its own retained message at a later subscription', () => {
  const { memory, judge, clock } = given()
  const { topic, payload } = arrival()
  memory.sent(topic, payload, true)
  clock.ms += 3_600_000
  expect(judge(arrival({ retain: true }))).toEqual({ kind: 'skip', why: 'seen' })
})

it.each([
  ['the rule’s own time from its arrival', undefined, 601_000],
  ['what the upstream says is left, where that is less', 30, 31_000],
  ['not what the upstream says, where that is more', 7200, 601_000],
])('delivers until %s', (_what, expirySeconds, until) => {
  const { judge, clock } = given()
  expect(judge(arrival({ expirySeconds }))).toMatchObject({ kind: 'take', staleMs: until })
  clock.ms = until - 1
  expect(judge(arrival({ expirySeconds }))).toMatchObject({ kind: 'take' })
  clock.ms = until
  const verdict = judge(arrival({ expirySeconds }))
  expect(verdict).toEqual({ kind: 'expired', topic: 'commands/pump/on' })
})

it('says what is left for those who read later', () => {
  expect([isStale(undefined, 9e15), isStale(10, 9), isStale(10, 10)]).toEqual([false, false, true])
  expect([expirySecondsLeft(undefined, 0), expirySecondsLeft(5500, 0)]).toEqual([undefined, 5])
  expect(expirySecondsLeft(10, 9)).toBe(1)
})

it('remembers no more than its bounds', () => {
  const { memory } = given()
  for (let n = 0; n < 12_000; n++) {
    memory.took(arrival({ topic: `raw/${n}`, retain: true }))
    memory.sent(`raw/${n}`, Buffer.from('x'), false)
  }
  expect([...memory.seen()].length).toBe(10_000)
  expect(memory.isEcho(arrival({ topic: 'raw/0', payload: Buffer.from('x') }))).toBe(false)
  expect(memory.isEcho(arrival({ topic: 'raw/11999', payload: Buffer.from('x') }))).toBe(true)
})
