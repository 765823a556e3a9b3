/** The HTTP side on a log of real files, on a free port. */
import { onTestFinished } from 'vitest'
import type { Token } from '../../../src/access/access.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { createHttp } from '../../../src/http/http.ts'
import type { EventLog, StreamSettings } from '../../../src/log/log.ts'
import { openLog } from '../../../src/log/open.ts'
import { collectingLogger } from '../../support/logger.ts'
import { tempDir } from '../../support/temp-dir.ts'

export const plant: StreamSettings = {
  name: 'plant',
  topics: ['plant/#'],
  partitions: 2,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
}

export interface Given {
  readonly log: EventLog
  readonly lines: readonly string[]
  readonly url: string
  readonly get: (path: string, init?: RequestInit) => Promise<Response>
  readonly post: (path: string, body: unknown) => Promise<Response>
}

interface Wishes {
  readonly streams?: readonly StreamSettings[]
  readonly token?: Token
  readonly admitsRetained?: (topic: string) => boolean
  /** What HTTP reads and appends to, where that is not the log itself. */
  readonly through?: (log: EventLog) => EventLog
}

export async function givenApi(wishes: Wishes = {}): Promise<Given> {
  const streams = wishes.streams ?? [plant]
  const log = await openLog({ dataDir: tempDir(), streams, clock: systemClock })
  const logger = collectingLogger()
  const server = createHttp({
    address: { host: '127.0.0.1', port: 0 },
    token: wishes.token,
    health: { notReadyReasons: () => [] },
    metrics: { contentType: 'text/plain', scrape: async () => '', close: () => undefined },
    // Its routes are described here, and asked elsewhere.
    consumers: { consumers: {} as never, log },
    api: {
      log: wishes.through?.(log) ?? log,
      limits: { recordBytesMax: 4096, topicBytesMax: 100, topicLevelsMax: 10 },
      admitsRetained: wishes.admitsRetained ?? (() => true),
      clock: systemClock,
      version: '1.2.3',
    },
    logger,
  })
  onTestFinished(async () => {
    await server.close()
    await log.close()
  })
  const { port } = await server.listen()
  const url = `http://127.0.0.1:${port}`
  const get = (path: string, init?: RequestInit) => fetch(`${url}${path}`, init)
  const headers = { 'content-type': 'application/json' }
  const post = (path: string, body: unknown) =>
    get(path, { method: 'POST', headers, body: JSON.stringify(body) })
  return { log, lines: logger.lines, url, get, post }
}

/** What an error must have for a person. */
export function isHelpful(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  const { error, message, hint } = body as { error?: string; message?: string; hint?: string }
  return [error, message, hint].every((one) => typeof one === 'string' && one.length > 3)
}
