/**
 * The door of the HTTP side: whether the gateway lives (/healthz), whether it takes messages
 * (/readyz), its numbers (/metrics), its bridges, and the log (api/). It reads what others publish;
 * nobody imports it but the composition root.
 */
import fastify, { type FastifyInstance } from 'fastify'
import type { Token } from '../access/access.ts'
import type { Clock } from '../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type ApiParts, addApiRoutes } from './api/api.ts'
import { apiErrorOf, type ErrorBody } from './api/api-error.ts'
import { addCompilers } from './api/compilers.ts'
import { guardFault, isLoopback } from './api/guard.ts'
import { addOpenApi } from './api/openapi.ts'
import { json, object, type RouteSchema } from './api/route-schema.ts'
import { addBridgeRoutes, type BridgeRoutes } from './bridges.ts'
import { addConsumerRoutes, type ConsumerRoutes } from './consumers.ts'
import type { HealthSource } from './health.ts'
import type { Metrics } from './metrics.ts'

export { Health, type HealthSource } from './health.ts'
export { createMetrics, type Metrics, type MetricsParts } from './metrics.ts'

export interface HttpAddress {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
}

export interface HttpParts {
  readonly address: HttpAddress
  /** What requests beyond health must carry; undefined: nothing. */
  readonly token: Token | undefined
  readonly health: HealthSource
  readonly metrics: Metrics
  /** Undefined: there is none. */
  readonly bridges?: BridgeRoutes | undefined
  /** Undefined: not served. */
  readonly consumers?: ConsumerRoutes | undefined
  /** The log over HTTP. Undefined: not served. */
  readonly api?: (ApiParts & { readonly clock: Clock; readonly version: string }) | undefined
  readonly logger: Logger
}

export interface HttpServer {
  /** Resolves with where it listens. Rejects with `address-in-use` or `address-refused`. */
  listen(): Promise<HttpAddress>
  /** Another token from now on. */
  setToken(token: Token | undefined): void
  /** Ends open connections too: a scraper's keep-alive must not hold up a stop. */
  close(): Promise<void>
}

/** A scraper, a supervisor and a few people at once; more is a mistake or an attack. */
const CONNECTIONS_MAX = 128
/** A request here is one line and some headers: whoever needs longer for it is not serious. */
const REQUEST_TIMEOUT_MS = 10_000
const BODY_BYTES_MAX = 16_384
const PARAMETER_CHARACTERS_MAX = 2048

/** Supervisors ask these, and they say no more than "yes" or why not. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

const UNAUTHORIZED = {
  error: 'unauthorized',
  message: 'The request has no token, or another one.',
  hint: 'Send the content of http.token_file: "Authorization: Bearer <token>".',
}

const FAILED = {
  error: 'failed',
  message: 'The gateway failed to answer.',
  hint: 'Its log says why.',
}

/** What Fastify found: no JSON, a body that is too long, a URL that is none. */
function refusal(error: object): ErrorBody {
  const hint = '/v1/openapi.json describes what each request takes.'
  return { error: 'bad-request', message: messageOf(error), hint }
}

/** The token of a header; an empty one, which is never right, of anything else. */
function bearerOf(header: string | undefined): string {
  return /^Bearer +([!-~]+)$/i.exec(header ?? '')?.[1] ?? ''
}

export function createHttp({ address, health, metrics, logger, ...parts }: HttpParts): HttpServer {
  const app = lightFastify()
  let { token } = parts
  app.server.maxConnections = CONNECTIONS_MAX
  addCompilers(app)
  const isLocal = isLoopback(address.host)
  app.addHook('onRequest', async (request, reply) => {
    if (OPEN_PATHS.has(request.url.split('?')[0] ?? '')) return undefined
    const { method, headers } = request
    const asked = { method, host: headers.host, contentType: headers['content-type'] }
    // Who knows the token is no web page that found its way here.
    const fault = guardFault(asked, isLocal && token === undefined)
    if (fault !== undefined) return reply.code(fault.statusCode).send(fault.body)
    if (token === undefined) return undefined
    if (token.isRight(bearerOf(request.headers.authorization))) return undefined
    return reply.code(401).header('www-authenticate', 'Bearer').send(UNAUTHORIZED)
  })
  if (parts.api !== undefined) addOpenApi(app, parts.api.version)
  addRoutes(app, health, metrics)
  addBridgeRoutes(app, parts.bridges)
  if (parts.consumers !== undefined) addConsumerRoutes(app, parts.consumers)
  if (parts.api !== undefined) addApiRoutes(app, { ...parts.api, logger })
  app.setNotFoundHandler((request, reply) => {
    const what = `There is nothing at ${request.method} ${request.url.slice(0, 200)}.`
    return reply
      .code(404)
      .send({ error: 'not-found', message: what, hint: 'GET /v1/openapi.json says what there is.' })
  })
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const known = apiErrorOf(error)
    if (known !== undefined) return reply.code(known.statusCode).send(known.body)
    const status = error.statusCode ?? 500
    if (status >= 500) logger.error({ path: request.url, err: error }, 'an HTTP request failed')
    return reply.code(status).send(status >= 500 ? FAILED : refusal(error))
  })
  return {
    listen: async () => {
      try {
        await app.listen({ host: address.host, port: address.port })
      } catch (error) {
        throw listenError(address, error)
      }
      const bound = app.server.address()
      const port = typeof bound === 'object' && bound !== null ? bound.port : address.port
      return { host: address.host, port }
    },
    setToken: (fresh) => {
      token = fresh
    },
    close: () => app.close(),
  }
}

/**
 * Fastify without Ajv and its serializer compiler: unloaded they spare 2.3 MiB of resident memory
 * (measured). `addCompilers` gives it checks of our own; without them a schema fails at start.
 */
function lightFastify(): FastifyInstance {
  const refuse = () => {
    throw new Error('a route has a schema that nothing checks')
  }
  return fastify({
    logger: false,
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    bodyLimit: BODY_BYTES_MAX,
    // Cursors have client ids in their names.
    routerOptions: { maxParamLength: PARAMETER_CHARACTERS_MAX },
    schemaController: {
      compilersFactory: { buildValidator: () => refuse, buildSerializer: () => refuse },
    },
  })
}

const healthSchema: RouteSchema = {
  operationId: 'health',
  summary: 'Whether the process lives',
  response: { 200: json('It does.', object({ status: { type: 'string', enum: ['ok'] } })) },
}

const readySchema: RouteSchema = {
  operationId: 'ready',
  summary: 'Whether messages are taken as they should be',
  response: {
    200: json('They are.', object({ status: { type: 'string', enum: ['ready'] } })),
    503: json(
      'They are not.',
      object({
        status: { type: 'string', enum: ['not ready'] },
        reasons: { type: 'array', items: { type: 'string' } },
      }),
    ),
  },
}

const metricsSchema: RouteSchema = {
  operationId: 'metrics',
  summary: 'Numbers for Prometheus',
  response: {
    200: { description: 'Metrics.', content: { 'text/plain': { schema: { type: 'string' } } } },
  },
}

function addRoutes(app: FastifyInstance, health: HealthSource, metrics: Metrics): void {
  app.get('/healthz', { schema: healthSchema }, async () => ({ status: 'ok' }))
  app.get('/readyz', { schema: readySchema }, async (_request, reply) => {
    const reasons = health.notReadyReasons()
    if (reasons.length === 0) return { status: 'ready' }
    return reply.code(503).send({ status: 'not ready', reasons })
  })
  app.get('/metrics', { schema: metricsSchema }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.scrape()),
  )
}

function listenError({ host, port }: HttpAddress, cause: unknown): unknown {
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
  switch (codeOf(cause)) {
    case 'EADDRINUSE':
      return new SluiceError(
        'address-in-use',
        `HTTP cannot listen on ${where}: the port is taken`,
        {
          cause,
        },
      )
    case 'EACCES':
    case 'EPERM':
      return new SluiceError(
        'address-refused',
        `HTTP cannot listen on ${where}: this user may not bind the port`,
        { cause },
      )
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
      return new SluiceError(
        'address-refused',
        `HTTP cannot listen on ${where}: this machine has no such address`,
        { cause },
      )
    default:
      return cause
  }
}
