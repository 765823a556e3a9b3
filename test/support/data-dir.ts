import path from 'node:path'
import { onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import type { EventLog, StreamSettings } from '../../src/log/log.ts'
import { openLog } from '../../src/log/open.ts'
import { tempDir } from './temp-dir.ts'

export interface GivenLog {
  readonly dataDir: string
  readonly clock: ManualClock
  readonly log: EventLog
}

/** A stream that takes `topic`; two partitions by client unless said otherwise. */
export function streamOf(
  name: string,
  topic: string,
  settings: Partial<StreamSettings> = {},
): StreamSettings {
  return {
    name,
    topics: [topic],
    partitions: 2,
    key: { kind: 'topic-level', level: 1 },
    ackAfter: 'write',
    qos0: true,
    lingerMs: 0,
    ...settings,
  }
}

/** An open log in a new data directory; both go with the test. */
export async function givenLog(
  streams: readonly StreamSettings[],
  timeMs: number,
): Promise<GivenLog> {
  const dataDir = path.join(tempDir(), 'data')
  const clock = new ManualClock(timeMs)
  const log = await openLog({ dataDir, streams, clock })
  onTestFinished(() => log.close())
  return { dataDir, clock, log }
}
