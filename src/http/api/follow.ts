/**
 * A stream as server-sent events. The id of an event is its record's position: a client that comes
 * back with Last-Event-ID gets what follows it, from the log, without a hole and without a repeat.
 */
import type { FastifyInstance } from 'fastify'
import type { ApiContext } from './api.ts'
import { ApiError, badRequest } from './api-error.ts'
import { Followers } from './followers.ts'
import { parameters, type RouteSchema } from './route-schema.ts'
import {
  fromSchema,
  knownStream,
  locate,
  type Narrowing,
  nameSchema,
  narrow,
  narrowingSchemas,
} from './stream-query.ts'

/** Of the 128 connections: the others are for who scrapes, asks and writes. */
const FOLLOWERS_MAX = 112

const schema: RouteSchema = {
  operationId: 'followRecords',
  summary: 'Records of a stream as they are kept, as server-sent events',
  description:
    'Each event has a record as its data, and its position as its id. An event "gap" ' +
    'says that the records of positions [first, end) were removed before they could be sent.',
  params: nameSchema,
  querystring: parameters({ from: { ...fromSchema, default: 'latest' }, ...narrowingSchemas }),
  response: {
    200: {
      description: 'Events without an end; a comment at least every 15 s.',
      content: { 'text/event-stream': { schema: { type: 'string' } } },
    },
  },
}

interface Route {
  Params: { name: string }
  Querystring: Narrowing & { from?: string }
}

export function addFollowRoute(app: FastifyInstance, { log, clock, logger }: ApiContext): void {
  const followers = new Followers({ log, clock, logger })
  app.addHook('preClose', async () => followers.close())
  app.get<Route>(
    '/v1/streams/:name/follow',
    { schema, exposeHeadRoute: false },
    async (request, reply) => {
      const stream = knownStream(log, request.params.name)
      const narrowed = narrow(stream, request.query)
      const last = request.headers['last-event-id']
      const place = last === undefined ? request.query.from : afterEvent(String(last))
      const from = await locate(log, stream, place ?? 'latest', clock)
      const end = await locate(log, stream, 'latest', clock)
      if (followers.size >= FOLLOWERS_MAX) throw tooMany()
      reply.hijack()
      const { raw } = reply
      // It ends with the connection: nothing is put around a write, which is one call.
      raw.useChunkedEncodingByDefault = false
      raw.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        connection: 'close',
      })
      raw.write(': here\n\n')
      // Positions that are not there yet: another log, or one that was restored.
      followers.add(narrowed, from < end ? from : end, raw)
    },
  )
}

function afterEvent(id: string): string {
  const position = /^\d{1,15}$/.test(id) ? Number(id) : undefined
  if (position !== undefined) return `position:${position + 1}`
  throw badRequest(
    `Last-Event-ID is "${id.slice(0, 40)}", not the id of an event.`,
    'Send the id of the last event that you have: a position.',
  )
}

function tooMany(): ApiError {
  return new ApiError(
    503,
    'busy',
    `${FOLLOWERS_MAX} clients follow already.`,
    'Close some, or let one follow for all of them; MQTT subscribers have no such bound.',
  )
}
