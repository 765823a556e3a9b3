import type { FastifyInstance } from 'fastify'
import { type Gap, gapReasons } from '../../log/log.ts'
import type { ApiContext } from './api.ts'
import { isoTime } from './record-json.ts'
import { json, object, parameters, type RouteSchema } from './route-schema.ts'

const LIMIT_DEFAULT = 1000
const LIMIT_MAX = 10_000

const gapSchema = object({
  id: { type: 'integer' },
  stream: { type: 'string' },
  cursor: { type: ['string', 'null'], description: 'Whose records they were; null: of all.' },
  first: { type: 'integer', description: 'Position of the first record of the range.' },
  end: { type: 'integer', description: 'Position behind its last one.' },
  records: { type: 'integer' },
  size_bytes: { type: 'integer' },
  reason: { type: 'string', enum: gapReasons },
  time: { type: 'string', format: 'date-time' },
})

const schema: RouteSchema = {
  operationId: 'listGaps',
  summary: 'Records that a reader will not get, and why; the newest last',
  querystring: parameters({
    stream: { type: 'string' },
    cursor: { type: 'string' },
    after: { type: 'integer', minimum: 0, description: 'Only gaps with a higher id.' },
    limit: { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT },
  }),
  response: { 200: json('Gaps.', object({ gaps: { type: 'array', items: gapSchema } })) },
}

interface Route {
  Querystring: { stream?: string; cursor?: string; after?: string; limit?: string }
}

export function addGapRoute(app: FastifyInstance, { log }: ApiContext): void {
  app.get<Route>('/v1/gaps', { schema }, async ({ query }) => {
    const { after, limit = LIMIT_DEFAULT, ...of } = query
    const afterId = after === undefined ? {} : { afterId: Number(after) }
    const gaps = log.state.gaps.list({ ...of, ...afterId, limit: Number(limit) })
    return { gaps: gaps.map(shownGap) }
  })
}

function shownGap({ sizeBytes, timeMs, cursor, ...gap }: Gap): object {
  return { ...gap, cursor: cursor ?? null, size_bytes: sizeBytes, time: isoTime(timeMs) }
}
