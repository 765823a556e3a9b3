/**
 * Records of a stream, oldest first. They go out page by page, and the next page is read when the
 * client has taken the last: memory is two pages, whatever is asked for. A client that leaves ends
 * the reading.
 */
import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { messageOf } from '../../base/errors.ts'
import type { EventLog, LogRecord, Position, RecordPage } from '../../log/log.ts'
import type { ApiContext } from './api.ts'
import { ApiError } from './api-error.ts'
import { flag, recordCbor, text } from './record-cbor.ts'
import { recordJson } from './record-json.ts'
import { recordSchema } from './record-schema.ts'
import { object, parameters, type RouteSchema } from './route-schema.ts'
import {
  fromSchema,
  knownStream,
  locate,
  type Narrowed,
  type Narrowing,
  nameSchema,
  narrow,
  narrowingSchemas,
} from './stream-query.ts'

const LIMIT_DEFAULT = 1000
const LIMIT_MAX = 1_000_000
const PAGE_RECORDS = 1000
const PAGE_BYTES = 256 * 1024

const answer = object({
  records: { type: 'array', items: recordSchema },
  next: { type: 'string', description: '"from" of the next request.', examples: ['position:100'] },
  more: { type: 'boolean', description: 'Whether the range has more records.' },
})

const schema: RouteSchema = {
  operationId: 'readRecords',
  summary: 'Records of a stream, oldest first',
  description: 'As JSON, or as CBOR with "Accept: application/cbor".',
  params: nameSchema,
  querystring: parameters({
    from: { ...fromSchema, default: 'earliest' },
    to: { ...fromSchema, description: 'Where to end, this not included; default: the end now.' },
    ...narrowingSchemas,
    limit: { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT },
  }),
  response: {
    200: {
      description: 'The records, and where the next request goes on.',
      content: { 'application/json': { schema: answer }, 'application/cbor': { schema: answer } },
    },
  },
}

interface Query extends Narrowing {
  readonly from?: string
  readonly to?: string
  readonly limit?: string
}

interface Route {
  Params: { name: string }
  Querystring: Query
}

/** How an answer is put together. */
interface Form {
  readonly type: string
  readonly head: Uint8Array
  readonly page: (records: readonly LogRecord[], isFirst: boolean) => Uint8Array
  readonly foot: (next: Position, more: boolean) => Uint8Array
}

const jsonForm: Form = {
  type: 'application/json; charset=utf-8',
  head: Buffer.from('{"records":['),
  page: (records, isFirst) =>
    Buffer.from(
      (isFirst || records.length === 0 ? '' : ',\n') + records.map(recordJson).join(',\n'),
    ),
  foot: (next, more) => Buffer.from(`],"next":"position:${next}","more":${more}}\n`),
}

/** The array's length is not known when it begins: it ends with a break (RFC 8949, 3.2.1). */
const cborForm: Form = {
  type: 'application/cbor',
  head: Buffer.concat([Buffer.from([0xa3]), text('records'), Buffer.from([0x9f])]),
  page: (records) => Buffer.concat(records.map(recordCbor)),
  foot: (next, more) =>
    Buffer.concat([
      Buffer.from([0xff]),
      ...[text('next'), text(`position:${next}`), text('more'), flag(more)],
    ]),
}

export function addRecordsRoute(app: FastifyInstance, { log, clock, logger }: ApiContext): void {
  app.get<Route>(
    '/v1/streams/:name/records',
    { schema, exposeHeadRoute: false },
    async (request, reply) => {
      const { params, query } = request
      const form = formOf(request.headers.accept)
      const stream = knownStream(log, params.name)
      const narrowed = narrow(stream, query)
      const end = await locate(log, stream, query.to ?? 'latest', clock)
      const from = await locate(log, stream, query.from ?? 'earliest', clock)
      const range = { log, narrowed, from, end, limit: Number(query.limit ?? LIMIT_DEFAULT) }
      // Read before the status goes out: what cannot be read is told by it.
      const first = from < end ? await readPage(range, from, range.limit) : undefined
      const chunks = write(range, first, form, (thrown) => {
        logger.error({ stream: stream.name, reason: messageOf(thrown) }, 'records cannot be read')
        // The client must not wait for the rest, whatever the stream between does with an error.
        reply.raw.destroy()
      })
      return reply.type(form.type).send(Readable.from(chunks, { objectMode: false }))
    },
  )
}

interface Range {
  readonly log: EventLog
  readonly narrowed: Narrowed
  readonly from: Position
  readonly end: Position
  readonly limit: number
}

/** An error on the way cuts the answer off: half an answer cannot be taken for a whole one. */
async function* write(
  range: Range,
  first: RecordPage | undefined,
  form: Form,
  onFailure: (thrown: unknown) => void,
): AsyncGenerator<Uint8Array> {
  const { end, limit } = range
  let next = range.from
  let left = limit
  let isFirst = true
  yield form.head
  try {
    for (let page = first; page !== undefined; ) {
      const records = page.records.filter(({ position }) => position < end)
      if (records.length > 0) yield form.page(records, isFirst)
      isFirst &&= records.length === 0
      left -= records.length
      next = page.next < end ? page.next : end
      const isDone = left === 0 || next >= end
      page = isDone ? undefined : await readPage(range, next, left)
    }
  } catch (thrown) {
    onFailure(thrown)
    throw thrown
  }
  yield form.foot(next, next < end)
}

function readPage(range: Range, from: Position, left: number): Promise<RecordPage> {
  const { log, narrowed } = range
  const recordsMax = Math.min(left, PAGE_RECORDS)
  return log.read({ ...narrowed, from, recordsMax, bytesMax: PAGE_BYTES })
}

function formOf(accept = '*/*'): Form {
  const types = accept.split(',').map((one) => one.split(';')[0]?.trim().toLowerCase())
  if (types.includes('application/cbor')) return cborForm
  if (types.some((one) => one === '*/*' || one === 'application/*' || one === 'application/json')) {
    return jsonForm
  }
  throw new ApiError(
    406,
    'not-acceptable',
    'Records come as JSON or CBOR.',
    'Send "Accept: application/json" or "Accept: application/cbor".',
  )
}
