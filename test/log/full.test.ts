/** L6 on both logs: what a full stream does with what is appended to it. */
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { type AckRule, asPosition, type EventLog, type StreamSettings } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { append, emptyFolder, keep, open, stream } from './given.ts'

type OpenLog = (streams: readonly StreamSettings[]) => Promise<EventLog>
const logs: readonly (readonly [string, OpenLog])[] = [
  ['the SQLite log', async (streams) => open(await emptyFolder(), streams)],
  ['the in-memory model', async (streams) => new MemoryLog(streams, systemClock)],
]

describe.each(logs)('%s', (_name, openLog) => {
  it.each<AckRule>(['fsync', 'write', 'receive'])(
    'L3, L6: tells what it turns away in its turn and gives it no place, ack_after = %s',
    async (ackAfter) => {
      const log = await openLog([stream('a', { ackAfter }), stream('b')])
      const told: string[] = []
      const appended = (topic: string, name: string) => {
        const { record, settled } = append(log, topic)
        return { record, done: settled.then((outcome) => told.push(`${name} ${outcome}`)) }
      }
      const one = appended('a/x', 'one')
      log.setFull('a', 'no space')
      const others = [appended('a/x', 'two'), appended('a/x', 'three')]
      const elsewhere = append(log, 'b/x')
      log.setFull('a', undefined)
      const four = appended('a/x', 'four')
      expect(await elsewhere.settled).toBe('kept')
      await Promise.all([one, ...others, four].map(({ done }) => done))
      expect(told).toEqual(['one kept', 'two full', 'three full', 'four kept'])
      expect([one.record.position, four.record.position]).toEqual([0, 1])
      expect([one.record.offset, four.record.offset]).toEqual([0, 1])
      expect(others.map(({ record }) => [record.sizeBytes, record.inMemory])).toEqual(
        others.map(() => [one.record.sizeBytes, false]),
      )
      await expect.poll(() => log.backlogBytes).toBe(0)
      const page = await log.read({
        stream: 'a',
        from: asPosition(0),
        recordsMax: 10,
        bytesMax: 1000,
      })
      expect(page.records.map(({ position }) => position)).toEqual([0, 1])
    },
  )

  it('says which streams are full, and tells of each change', async () => {
    const log = await openLog([stream('a'), stream('b')])
    const told: string[] = []
    log.onFull((name, reason) => told.push(`${name}: ${reason}`))
    log.setFull('b', 'no space')
    expect([...log.full]).toEqual([['b', 'no space']])
    expect(await append(log, 'b/x').settled).toBe('full')
    await keep(log, 'a/x', 1)
    log.setFull('b', undefined)
    await keep(log, 'b/x', 1)
    expect(log.full.size).toBe(0)
    expect(told).toEqual(['b: no space', 'b: undefined'])
    expect(() => log.setFull('c', 'no space')).toThrow(/no stream "c"/)
  })

  it('tells what it turned away also when it is closed', async () => {
    const log = await openLog([stream('a')])
    const before = append(log, 'a/x').settled
    log.setFull('a', 'no space')
    const after = append(log, 'a/x').settled
    await log.close()
    expect([await before, await after]).toEqual(['kept', 'full'])
  })
})
