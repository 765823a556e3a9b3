import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { SluiceError } from '../../../src/base/errors.ts'
import type { Logger } from '../../../src/base/logger.ts'
import { asPosition, type ReadQuery } from '../../../src/log/log.ts'
import { MemoryLog } from '../../../src/log/memory.ts'
import { APPLIED_KIND, encodeApplied } from '../../../src/mqtt/retained/document.ts'
import { Retained } from '../../../src/mqtt/retained/retained.ts'
import { eventually, everything } from '../../support/front-end.ts'

class CountingLog extends MemoryLog {
  readonly reads: ReadQuery[] = []

  override async read(query: ReadQuery) {
    this.reads.push(query)
    return await super.read(query)
  }

  /** Nothing is in a tail: every byte must come from somewhere else. */
  override recent(): undefined {
    return undefined
  }
}

function given() {
  const clock = new ManualClock(1_763_700_000_000)
  const log = new CountingLog([everything], clock)
  onTestFinished(() => log.close())
  const complaints: string[] = []
  const complain = (_fields: object, sentence: string) => complaints.push(sentence)
  const silent = () => undefined
  const logger: Logger = { debug: silent, info: silent, warn: complain, error: complain }
  const stats = { retained: 0 }
  const retained = (cachedBytesMax?: number) =>
    new Retained({
      log,
      clock,
      logger,
      countMax: 1000,
      stats,
      ...(cachedBytesMax !== undefined && { cachedBytesMax }),
    })
  return { log, complaints, stats, retained }
}

/** Appends one message with the retain flag; kept when it resolves. */
function append(log: MemoryLog, topic: string, payload: string): Promise<unknown> {
  const bytes = Buffer.from(payload)
  return new Promise((resolve) => {
    log.append({
      route: log.route(topic),
      client: log.client('tester'),
      qos: 1,
      retain: true,
      key: undefined,
      bytes,
      propertiesAt: 0,
      propertiesEnd: 0,
      payloadAt: 0,
      payloadEnd: bytes.length,
      waiter: { settled: resolve },
    })
    log.flush()
  })
}

async function found(retained: Retained, filter = '#'): Promise<Record<string, string>> {
  const walk = retained.walk(filter)
  const all: [string, string][] = []
  while (!walk.isDone) {
    for (const { topic, payload } of await walk.page()) {
      all.push([topic, Buffer.from(payload).toString()])
    }
  }
  return Object.fromEntries(all)
}

describe('the store of retained messages', () => {
  it('R2: derives from the log what the documents do not have', async () => {
    const { log, retained } = given()
    const first = retained()
    await first.start()
    await append(log, 'a', '1')
    await append(log, 'b', '2')
    await append(log, 'a', '')
    await append(log, 'b', '3')
    // Not closed: a crash.
    const second = retained()
    await second.start()
    expect(await found(second)).toEqual({ b: '3' })
  })

  it('R2: reads nothing of the log that is in the documents', async () => {
    const { log, retained } = given()
    const first = retained()
    await first.start()
    for (let i = 0; i < 20; i++) await append(log, `t/${i}`, `${i}`)
    await append(log, 't/7', '')
    await first.close()
    await append(log, 't/20', '20')
    log.reads.length = 0
    const second = retained()
    await second.start()
    expect(log.reads.map(({ from }) => from)).toEqual([asPosition(21)])
    expect(Object.keys(await found(second, 't/+'))).toHaveLength(20)
    expect(await found(second, 't/7')).toEqual({})
    await second.close()
  })

  it('R2: begins at the end of a stream that lost what the documents speak of', async () => {
    const { log, retained, complaints } = given()
    const value = encodeApplied(1000)
    await log.state.documents.putNow([{ kind: APPLIED_KIND, key: 'default', value }])
    await append(log, 'a', '1')
    const first = retained()
    await first.start()
    await append(log, 'a', '2')
    // Not closed: a crash.
    const second = retained()
    await second.start()
    expect(await found(second)).toEqual({ a: '2' })
    expect(complaints).toEqual([])
  })

  it('R4: fetches what does not fit into memory, from the documents or the log', async () => {
    const { log, retained } = given()
    const first = retained(1000)
    await first.start()
    const expected: Record<string, string> = {}
    for (let i = 0; i < 30; i++) {
      expected[`t/${i}`] = String(i).repeat(100)
      await append(log, `t/${i}`, String(i).repeat(100))
    }
    expect(await found(first)).toEqual(expected)
    await first.close()
    const second = retained(1000)
    await second.start()
    log.reads.length = 0
    expect(await found(second)).toEqual(expected)
    expect(log.reads).toEqual([])
    await second.close()
  })

  it('removes the document of a topic that is cleared', async () => {
    const { log, retained } = given()
    for (const payload of ['x', '', '']) {
      const one = retained()
      await one.start()
      await append(log, 'a', payload)
      await one.close()
      expect(await found(one)).toEqual(payload === '' ? {} : { a: payload })
    }
    expect(await log.state.documents.get('retained', ['a'])).toEqual([undefined])
  })

  it('R2: writes again what could not be written', async () => {
    const { log, retained } = given()
    const first = retained()
    await first.start()
    await append(log, 'a', '1')
    const { documents } = log.state
    const putNow = documents.putNow.bind(documents)
    documents.putNow = () => Promise.reject(new SluiceError('storage', 'no space'))
    await first.close()
    documents.putNow = putNow
    await first.close()
    log.reads.length = 0
    const second = retained()
    await second.start()
    expect(await found(second)).toEqual({ a: '1' })
    expect(log.reads).toEqual([])
    await second.close()
  })

  it('R2: never says that a stream is in the documents before it is', async () => {
    const { log, retained } = given()
    const first = retained()
    await first.start()
    await append(log, 'a', '1')
    const { documents } = log.state
    const putNow = documents.putNow.bind(documents)
    let calls = 0
    documents.putNow = (writes) =>
      calls++ === 0 ? putNow(writes) : Promise.reject(new SluiceError('storage', 'no space'))
    await first.close()
    expect(calls).toBe(2)
    documents.putNow = putNow
    const second = retained()
    await second.start()
    expect(await found(second)).toEqual({ a: '1' })
    await second.close()
  })

  it('R3: gives a walk nothing that came after it began', async () => {
    const { log, retained, stats } = given()
    const first = retained()
    await first.start()
    await append(log, 'a', 'old')
    await append(log, 'b', 'old')
    const walk = first.walk('#')
    await append(log, 'a', 'new')
    await append(log, 'c', 'new')
    const topics: string[] = []
    while (!walk.isDone) topics.push(...(await walk.page()).map(({ topic }) => topic))
    expect(topics).toEqual(['b'])
    expect(stats.retained).toBe(3)
    await first.close()
  })

  it('forgets a document that it cannot read, and says so', async () => {
    const { log, retained, complaints } = given()
    const value = Uint8Array.of(9, 9)
    await log.state.documents.putNow([{ kind: 'retained', key: 'a', value }])
    const first = retained()
    await first.start()
    expect(await found(first)).toEqual({})
    expect(complaints).toEqual(['a retained message cannot be read: it is forgotten'])
    await eventually(async () => {
      const [left] = await log.state.documents.get('retained', ['a'])
      return left === undefined
    }, 'its removal')
    await first.close()
  })
})
