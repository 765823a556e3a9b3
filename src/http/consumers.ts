/**
 * Groups and queues over HTTP. `sluice groups`, `sluice queues` and `sluice redrive` are clients.
 *
 *   GET  /v1/groups                    those with members, and those whose place is kept
 *   GET  /v1/queues
 *   POST /v1/queues/{name}/redrive     puts dead letters back
 */
import type { FastifyInstance } from 'fastify'
import { SluiceError } from '../base/errors.ts'
import type { Consumers, GroupInfo } from '../consumers/consumers.ts'
import type { Cursor, EventLog } from '../log/log.ts'
import { json, object, type RouteSchema } from './api/route-schema.ts'
import type { JsonSchema } from './api/schema.ts'

export interface ConsumerRoutes {
  readonly consumers: Consumers
  readonly log: EventLog
}

const PREFIX = 'group/'

const text: JsonSchema = { type: 'string' }
const count: JsonSchema = { type: 'integer' }
const listOf = (items: JsonSchema): JsonSchema => ({ type: 'array', items })

const groupSchema = object(
  {
    group: text,
    stream: text,
    filter: { type: 'string', description: 'The topics that it reads; without it all.' },
    lag: { type: 'integer', description: 'Records that are not acknowledged.' },
    members: listOf(
      object({
        clientId: text,
        partitions: listOf(count),
        inflight: count,
        isStalled: { type: 'boolean' },
      }),
    ),
    partitions: listOf(
      object({ partition: count, next: count, lag: count, clientId: text }, [
        'partition',
        'next',
        'lag',
      ]),
    ),
  },
  ['group', 'stream', 'lag', 'members', 'partitions'],
)

const queueSchema = object({
  queue: text,
  depth: { type: 'integer', description: 'Messages that are not settled.' },
  oldestAgeMs: { type: 'number', description: 'Age of the oldest of them.' },
  inflight: { type: 'integer', description: 'With consumers now.' },
  redeliveries: { type: 'integer', description: 'Since the start of the gateway.' },
  deadLetters: { type: 'integer', description: 'Since the start of the gateway.' },
  consumers: listOf(object({ clientId: text, inflight: count })),
})

const listGroups: RouteSchema = {
  operationId: 'listGroups',
  summary: 'The consumer groups: members, partitions and lag',
  response: { 200: json('Groups.', object({ groups: listOf(groupSchema) })) },
}

const listQueues: RouteSchema = {
  operationId: 'listQueues',
  summary: 'The work queues: how much waits, and who works',
  response: { 200: json('Queues.', object({ queues: listOf(queueSchema) })) },
}

const redriveQueue: RouteSchema = {
  operationId: 'redriveQueue',
  summary: 'Puts the dead letters of a queue back into it',
  params: { type: 'object', properties: { name: text }, required: ['name'] },
  response: {
    200: json(
      'How many were put back; stopped says why not all.',
      object({ queue: text, records: count, stopped: text }, ['queue', 'records']),
    ),
  },
}

export function addConsumerRoutes(app: FastifyInstance, { consumers, log }: ConsumerRoutes): void {
  app.get('/v1/groups', { schema: listGroups }, async () => ({
    groups: await groupsOf(consumers, log),
  }))
  app.get('/v1/queues', { schema: listQueues }, async () => ({ queues: consumers.queueInfos() }))
  app.post<{ Params: { name: string } }>(
    '/v1/queues/:name/redrive',
    { schema: redriveQueue },
    async ({ params }) => {
      const queue = consumers.queue(params.name)
      if (queue === undefined) {
        throw new SluiceError('queue-unknown', `there is no queue "${params.name}"`)
      }
      const redriven = await queue.redrive()
      if (redriven === undefined) {
        throw new SluiceError('queue-unknown', `the queue "${params.name}" has no dead_letter`)
      }
      return { queue: params.name, ...redriven }
    },
  )
}

/** With members first; of the others the cursor says how far they came. */
async function groupsOf(consumers: Consumers, log: EventLog): Promise<readonly GroupInfo[]> {
  const live = consumers.groupInfos()
  const known = new Set(live.map(({ group, stream }) => `${PREFIX}${group}/${stream}`))
  const asleep = log.state.cursors
    .list()
    .filter(({ name }) => name.startsWith(PREFIX) && !known.has(name))
  return [...live, ...(await Promise.all(asleep.map((cursor) => asleepGroup(cursor, log))))]
}

async function asleepGroup({ name, stream, place }: Cursor, log: EventLog): Promise<GroupInfo> {
  const { partitions: bounds } = await log.bounds(stream)
  const next = place.kind === 'partitions' ? place.next : new Map<never, never>()
  const partitions = bounds.map(({ partition, first, end }) => {
    const from = next.get(partition as never) ?? first
    return { partition, next: from, lag: end - Math.max(from, first), clientId: undefined }
  })
  const lag = partitions.reduce((sum, each) => sum + each.lag, 0)
  const group = name.slice(PREFIX.length, name.length - stream.length - 1)
  return { group, stream, filter: undefined, members: [], partitions, lag }
}
