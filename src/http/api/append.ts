/** Appends records: all of a request or none, answered by the stream's ack rule (H2). */
import type { FastifyInstance } from 'fastify'
import type { AppendOutcome, EventLog, LogRecord, NewRecord } from '../../log/log.ts'
import type { ApiContext } from './api.ts'
import { ApiError, badRequest } from './api-error.ts'
import { newRecord, newRecordSchema, type SentRecord, type Target } from './new-record.ts'
import { json, object, type RouteSchema } from './route-schema.ts'
import { type JsonSchema, schemaFault } from './schema.ts'
import { knownStream, nameSchema } from './stream-query.ts'

export type { AppendLimits } from './new-record.ts'

const BODY_BYTES_MAX = 1024 * 1024
const RECORDS_MAX = 1000
/** Bodies that are being read, or whose records wait for the disk: 8 MiB, and what they become. */
const REQUESTS_MAX = 8
/** Longer than any sync of a medium that works. */
const ANSWER_WITHIN_MS = 30_000
/** What records have for a publisher; MQTT names with $ are the gateway's own. */
const CLIENT = '$http'

const bodySchema: JsonSchema = {
  type: 'object',
  description: 'One record, or "records" with up to 1,000.',
  additionalProperties: false,
  properties: {
    records: { type: 'array', minItems: 1, maxItems: RECORDS_MAX, items: newRecordSchema },
    ...newRecordSchema.properties,
  },
  examples: [
    { topic: 'plant/press/command', payload: { speed: 3 } },
    { records: newRecordSchema.examples ?? [] },
  ],
}

const placeSchema = object({
  partition: { type: 'integer' },
  offset: { type: 'integer' },
  position: { type: 'integer' },
})

const schema: RouteSchema = {
  operationId: 'appendRecords',
  summary: 'Appends records to a stream, all or none',
  description: 'Answered when the ack rule of the stream holds for all of them.',
  params: nameSchema,
  body: bodySchema,
  response: {
    201: json('Kept.', object({ records: { type: 'array', items: placeSchema } })),
  },
}

interface Route {
  Params: { name: string }
  Body: SentRecord & { readonly records?: readonly SentRecord[] }
}

export function addAppendRoute(app: FastifyInstance, context: ApiContext): void {
  const { log } = context
  const slots = new Slots()
  const client = log.client(CLIENT)
  app.post<Route>(
    '/v1/streams/:name/records',
    {
      schema,
      bodyLimit: BODY_BYTES_MAX,
      // Before the body is read: what cannot be taken costs no memory.
      onRequest: async (_request, reply) => slots.take(reply.raw),
    },
    async (request, reply) => {
      const stream = knownStream(log, request.params.name)
      const target: Target = { ...context, stream, client }
      const records = sentRecords(request.body).map(([name, one]) => newRecord(one, name, target))
      checkTaking(log, stream.name)
      const settled = slots.hold(reply.raw, appendAll(log, records))
      return reply.code(201).send({ records: (await inTime(settled)).map(placeOf) })
    },
  )
}

/** Each record with what it is called in a sentence. */
function sentRecords(body: Route['Body']): readonly (readonly [string, SentRecord])[] {
  const { records } = body
  if (records === undefined) {
    const fault = schemaFault(newRecordSchema, body, 'the body')
    if (fault === undefined) return [['the record', body]]
    throw badRequest(`${fault}.`, 'Send {"topic": ..., "payload": ...}, or {"records": [...]}.')
  }
  if (Object.keys(body).length === 1) return records.map((one, index) => [`records[${index}]`, one])
  throw badRequest('The body has "records" and a record of its own.', 'Send one of the two.')
}

function checkTaking(log: EventLog, stream: string): void {
  const full = log.full.get(stream)
  if (full !== undefined) {
    throw new ApiError(
      507,
      'stream-full',
      `The stream "${stream}" refuses new records: ${full}.`,
      'Free space on the disk, or let retention of this or another stream keep less.',
    )
  }
  const failing = log.failures.get(stream)
  if (failing === undefined) return
  throw new ApiError(
    503,
    'stream-failing',
    `The stream "${stream}" cannot be written: ${failing}.`,
    'Look at the disk: space, mount options and the kernel log. Then send again.',
  )
}

type Settled = readonly [outcome: AppendOutcome, record: LogRecord]

/** All in one turn of the loop, so that nothing comes between them. */
function appendAll(
  log: EventLog,
  records: readonly Omit<NewRecord, 'waiter'>[],
): Promise<readonly Settled[]> {
  return new Promise((resolve) => {
    const settled: Settled[] = []
    const waiter = {
      settled: (outcome: AppendOutcome, record: LogRecord) => {
        settled.push([outcome, record])
        if (settled.length === records.length) resolve(settled)
      },
    }
    for (const one of records) log.append({ ...one, waiter })
  })
}

/** Without an answer of the disk nobody can say whether they are kept: that is what is said. */
async function inTime(settled: Promise<readonly Settled[]>): Promise<readonly Settled[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new ApiError(
      503,
      'not-yet-kept',
      `The disk has not answered for ${ANSWER_WITHIN_MS / 1000} s: the records wait for it, and may be kept.`,
      'Read the end of the stream before sending them again.',
    )
    timer = setTimeout(() => reject(error), ANSWER_WITHIN_MS)
  })
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}

function placeOf([outcome, { partition, offset, position }]: Settled, index: number): object {
  if (outcome === 'kept') return { partition, offset, position }
  throw new ApiError(
    outcome === 'full' ? 507 : 503,
    outcome === 'full' ? 'stream-full' : 'refused',
    `The log did not keep ${index === 0 ? 'the records' : `what follows the first ${index} records`}.`,
    'GET /readyz says what is wrong.',
  )
}

/** Who is being served: until the answer is out and its records no longer wait for the disk. */
class Slots {
  private readonly owners = new Set<object>()
  private readonly held = new Set<object>()

  take(owner: NodeJS.EventEmitter): void {
    if (this.owners.size >= REQUESTS_MAX) {
      throw new ApiError(
        503,
        'busy',
        `${REQUESTS_MAX} requests are being appended.`,
        'Send again in a moment; with many records, send more of them in one request.',
      )
    }
    this.owners.add(owner)
    owner.once('close', () => {
      if (!this.held.has(owner)) this.owners.delete(owner)
    })
  }

  /** Keeps the slot until `settled`, also when the client leaves or is answered before. */
  hold(owner: object, settled: Promise<readonly Settled[]>): Promise<readonly Settled[]> {
    this.held.add(owner)
    return settled.finally(() => {
      this.held.delete(owner)
      this.owners.delete(owner)
    })
  }
}
