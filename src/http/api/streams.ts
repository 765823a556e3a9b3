import type { FastifyInstance } from 'fastify'
import { messageOf } from '../../base/errors.ts'
import type { EventLog, StreamBounds, StreamSettings } from '../../log/log.ts'
import type { ApiContext } from './api.ts'
import { isoTime } from './record-json.ts'
import { json, object, type RouteSchema } from './route-schema.ts'

const streamSchema = object({
  name: { type: 'string' },
  topics: { type: 'array', items: { type: 'string' } },
  ack_after: { type: 'string', enum: ['fsync', 'write', 'receive'] },
  first: { type: ['integer', 'null'], description: 'Position of its first record.' },
  end: { type: ['integer', 'null'], description: 'Position that the next record gets.' },
  first_time: { type: ['string', 'null'], format: 'date-time' },
  last_time: { type: ['string', 'null'], format: 'date-time' },
  size_bytes: { type: ['integer', 'null'] },
  partitions: {
    type: 'array',
    description: 'First offset, and the offset that the next record gets.',
    items: object({
      partition: { type: 'integer' },
      first: { type: 'integer' },
      end: { type: 'integer' },
    }),
  },
  state: { type: 'string', enum: ['ok', 'full', 'failing'] },
  reason: { type: ['string', 'null'], description: 'Why it is not "ok".' },
})

const schema: RouteSchema = {
  operationId: 'listStreams',
  summary: 'The streams, and what is in them',
  response: {
    200: json('All streams.', object({ streams: { type: 'array', items: streamSchema } })),
  },
}

export function addStreamRoute(app: FastifyInstance, { log }: ApiContext): void {
  app.get('/v1/streams', { schema }, async () => ({
    streams: await Promise.all(log.streams.map((stream) => shownStream(log, stream))),
  }))
}

async function shownStream(log: EventLog, settings: StreamSettings): Promise<object> {
  const { name, topics, ackAfter } = settings
  let bounds: StreamBounds | undefined
  let unread: string | undefined
  try {
    bounds = await log.bounds(name)
  } catch (thrown) {
    unread = messageOf(thrown)
  }
  const failing = log.failures.get(name) ?? unread
  const full = log.full.get(name)
  const stateWithoutFailure = full === undefined ? 'ok' : 'full'
  return {
    name,
    topics,
    ack_after: ackAfter,
    first: bounds?.first ?? null,
    end: bounds?.end ?? null,
    first_time: timeOf(bounds?.firstTimeMs),
    last_time: timeOf(bounds?.lastTimeMs),
    size_bytes: bounds?.sizeBytes ?? null,
    partitions: bounds?.partitions ?? [],
    state: failing === undefined ? stateWithoutFailure : 'failing',
    reason: failing ?? full ?? null,
  }
}

function timeOf(timeMs: number | undefined): string | null {
  return timeMs === undefined ? null : isoTime(timeMs)
}
