import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { testEventLog } from '../contract/event-log.ts'
import { append, stream } from '../contract/event-log-support.ts'

testEventLog(
  'the in-memory model',
  async (streams, clock) => {
    const log = new MemoryLog(streams, clock)
    return { log, reopen: async () => log, clean: () => log.close() }
  },
  { durable: false },
)

describe('the in-memory model under a provoked failure', () => {
  it('refuses what is not settled and what comes later, and tells the reason once', async () => {
    const log = new MemoryLog([stream('s')], new ManualClock(0))
    const told: string[] = []
    log.onFailure((name, reason) => told.push(`${name}: ${reason}`))
    const before = append(log, { topic: 't' })
    log.fail('s', 'disk full')
    expect(await before.settled).toBe('refused')
    expect(await append(log, { topic: 't' }).settled).toBe('refused')
    expect(log.failures.get('s')).toBe('disk full')
    expect(told).toEqual(['s: disk full'])
    expect((await log.bounds('s')).end).toBe(0)
    expect(log.backlogBytes).toBe(0)
  })
})
