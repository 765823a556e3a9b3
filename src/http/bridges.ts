/**
 * Bridges over HTTP: what they do, and pause, resume and seek. `sluice bridge` is its client.
 *
 *   GET  /v1/bridges
 *   POST /v1/bridges/{name}/pause | resume | seek      seek: {"to": "-6h", "stream": "telemetry"}
 *
 * What changes something wants a JSON body: a web page that somebody opens on this machine cannot
 * send one to another origin without asking first, and it is never allowed to.
 */
import type { FastifyInstance } from 'fastify'
import { SluiceError } from '../base/errors.ts'
import type { Bridges } from '../bridge/bridge.ts'
import type { Start } from '../log/log.ts'

export interface BridgeRoutes {
  readonly bridges: Bridges
  /** Reads a start such as "-6h"; throws `start-invalid`. */
  readonly parseStart: (text: string) => Start
}

interface SeekBody {
  readonly to?: unknown
  readonly stream?: unknown
}

/** Without bridges the list is empty and every name is unknown. */
export function addBridgeRoutes(app: FastifyInstance, routes: BridgeRoutes | undefined): void {
  const known = (): BridgeRoutes => {
    if (routes !== undefined) return routes
    throw new SluiceError('bridge-unknown', 'the gateway has no bridge')
  }
  app.get('/v1/bridges', async () => ({ bridges: (await routes?.bridges.status()) ?? [] }))
  app.post<{ Params: { name: string } }>('/v1/bridges/:name/pause', async ({ params }) => {
    await known().bridges.pause(params.name)
    return { bridge: params.name, state: 'paused' }
  })
  app.post<{ Params: { name: string } }>('/v1/bridges/:name/resume', async ({ params }) => {
    await known().bridges.resume(params.name)
    return { bridge: params.name, state: 'resumed' }
  })
  app.post<{ Params: { name: string }; Body: SeekBody | null }>(
    '/v1/bridges/:name/seek',
    async ({ params, body }) => {
      const to = body?.to
      if (typeof to !== 'string') {
        throw new SluiceError('start-invalid', 'the body has no "to" that says where')
      }
      const stream = typeof body?.stream === 'string' ? body.stream : undefined
      const { bridges, parseStart } = known()
      const moved = await bridges.seek(params.name, parseStart(to), stream)
      return { bridge: params.name, moved }
    },
  )
  app.addHook('preValidation', async (request, reply) => {
    if (request.method !== 'POST' || !request.url.startsWith('/v1/')) return undefined
    if (request.headers['content-type']?.startsWith('application/json') === true) return undefined
    return reply
      .code(415)
      .send({ error: 'failed', message: 'Send a JSON body: content-type application/json.' })
  })
}

/** The status of an error that a person can put right; undefined for all others. */
export function statusOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof SluiceError)) return undefined
  if (thrown.code === 'bridge-unknown') return 404
  return thrown.retry === 'never' ? 400 : 503
}
