/** Setup for tests of consumers: a log in memory, a clock, and members that settle by hand. */
import { onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { Consumers, type ConsumersParts, type Joining } from '../../src/consumers/consumers.ts'
import type { EventLog, StreamSettings } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import type { TestMember } from '../support/member.ts'

export const NOON_MS = Date.UTC(2026, 4, 1, 12)

export function stream(name: string, more: Partial<StreamSettings> = {}): StreamSettings {
  return {
    name,
    topics: [`${name}/#`],
    partitions: 4,
    key: { kind: 'topic' },
    ackAfter: 'fsync',
    qos0: true,
    lingerMs: 0,
    ...more,
  }
}

export interface Given {
  readonly log: EventLog
  readonly clock: ManualClock
  readonly consumers: Consumers
}

/** Consumers over an empty log in memory; both end with the test. */
export async function given(
  streams: readonly StreamSettings[],
  more: Partial<ConsumersParts> = {},
): Promise<Given> {
  const clock = new ManualClock(NOON_MS)
  const log = more.log ?? new MemoryLog(streams, clock)
  const consumers = await Consumers.start({ clock, queues: [], ...more, log })
  onTestFinished(async () => {
    await consumers.close()
    await log.close()
  })
  return { log, clock, consumers }
}

/** A subscription of a member at QoS 1. */
export function joining(member: TestMember, more: Partial<Joining> = {}): Joining {
  return {
    member,
    filter: undefined,
    qos: 1,
    retainAsPublished: false,
    subscriptionIds: [],
    withProperties: true,
    onGap: () => undefined,
    ...more,
  }
}

/** Lets reads, slices and what follows from them happen. */
export async function turns(count = 6): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

export const numbered = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, index) => String(from + index))
