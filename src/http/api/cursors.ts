import type { FastifyInstance } from 'fastify'
import type { Cursor, CursorPlace, EventLog, StreamBounds } from '../../log/log.ts'
import { parseStart } from '../../log/start.ts'
import type { ApiContext } from './api.ts'
import { isoTime } from './record-json.ts'
import { json, object, parameters, type RouteSchema } from './route-schema.ts'
import type { JsonSchema } from './schema.ts'
import { fromSchema } from './stream-query.ts'

const LIMIT_DEFAULT = 1000
const LIMIT_MAX = 10_000

const cursorSchema: JsonSchema = object(
  {
    cursor: { type: 'string' },
    stream: { type: 'string' },
    position: { type: 'integer', description: 'The next record it wants.' },
    offsets: {
      type: 'object',
      description: 'The next offset it wants of each partition, where it counts by partition.',
      additionalProperties: { type: 'integer' },
    },
    lag_records: { type: ['integer', 'null'], description: 'Records it has not read.' },
    updated: { type: 'string', format: 'date-time' },
  },
  ['cursor', 'stream', 'lag_records', 'updated'],
)

const listSchema: RouteSchema = {
  operationId: 'listCursors',
  summary: 'The cursors by name: where each stands, and what it has not read',
  querystring: parameters({
    after: { type: 'string', description: 'Only cursors whose name comes behind this one.' },
    limit: { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT },
  }),
  response: { 200: json('Cursors.', object({ cursors: { type: 'array', items: cursorSchema } })) },
}

const seekSchema: RouteSchema = {
  operationId: 'seekCursor',
  summary: 'Moves a cursor',
  description: 'The name is written in the URL with %2F for each slash.',
  params: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
  body: {
    type: 'object',
    required: ['to'],
    additionalProperties: false,
    properties: {
      to: { ...fromSchema, examples: ['earliest', '-6h', '0:42'], description: 'Where it goes.' },
    },
  },
  response: { 200: json('Where it stands now; it is on disk.', cursorSchema) },
}

interface ListRoute {
  Querystring: { after?: string; limit?: string }
}

interface SeekRoute {
  Params: { name: string }
  Body: { to: string }
}

export function addCursorRoutes(app: FastifyInstance, { log, clock }: ApiContext): void {
  app.get<ListRoute>('/v1/cursors', { schema: listSchema }, async ({ query }) => {
    const { after = '', limit = LIMIT_DEFAULT } = query
    const all = log.state.cursors.list().filter(({ name }) => name > after)
    const page = all.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, Number(limit))
    return { cursors: await shownCursors(log, page) }
  })
  app.post<SeekRoute>(
    '/v1/cursors/:name/seek',
    { schema: seekSchema },
    async ({ params, body }) => {
      const moved = await log.state.cursors.seek(params.name, parseStart(body.to, clock))
      return (await shownCursors(log, [moved]))[0]
    },
  )
}

async function shownCursors(log: EventLog, cursors: readonly Cursor[]): Promise<object[]> {
  const streams = [...new Set(cursors.map(({ stream }) => stream))]
  const asked = await Promise.allSettled(streams.map((stream) => log.bounds(stream)))
  const bounds = new Map<string, StreamBounds>()
  for (const one of asked) if (one.status === 'fulfilled') bounds.set(one.value.stream, one.value)
  return cursors.map(({ name, stream, place, updatedMs }) => {
    const own = bounds.get(stream)
    // The stream is out of service or gone: how far the cursor lags is not known.
    const lag = own === undefined ? null : log.state.cursors.lagRecords(name, own)
    const updated = isoTime(updatedMs)
    return { cursor: name, stream, ...shownPlace(place), lag_records: lag, updated }
  })
}

function shownPlace(place: CursorPlace): object {
  if (place.kind === 'stream') return { position: place.next }
  return { offsets: Object.fromEntries(place.next) }
}
