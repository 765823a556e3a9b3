/**
 * The door of the HTTP side: whether the gateway lives (/healthz), whether it takes messages
 * (/readyz), and its numbers (/metrics). It reads what others publish; nobody imports it but the
 * composition root.
 */
import fastify, { type FastifyInstance } from 'fastify'
import type { Token } from '../access/access.ts'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { addBridgeRoutes, type BridgeRoutes, statusOf } from './bridges.ts'
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

/** Supervisors ask these, and they say no more than "yes" or why not. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz'])

const UNAUTHORIZED = {
  error: 'unauthorized',
  message: 'Send the content of http.token_file: "Authorization: Bearer <token>".',
}

/** The token of a header; an empty one, which is never right, of anything else. */
function bearerOf(header: string | undefined): string {
  return /^Bearer +([!-~]+)$/i.exec(header ?? '')?.[1] ?? ''
}

export function createHttp({ address, health, metrics, logger, ...parts }: HttpParts): HttpServer {
  const app = lightFastify()
  let { token } = parts
  app.server.maxConnections = CONNECTIONS_MAX
  app.addHook('onRequest', async (request, reply) => {
    if (token === undefined || OPEN_PATHS.has(request.url.split('?')[0] ?? '')) return undefined
    if (token.isRight(bearerOf(request.headers.authorization))) return undefined
    return reply.code(401).header('www-authenticate', 'Bearer').send(UNAUTHORIZED)
  })
  addRoutes(app, health, metrics)
  addBridgeRoutes(app, parts.bridges)
  app.setNotFoundHandler((request, reply) => {
    const what = `There is nothing at ${request.method} ${request.url.slice(0, 200)}.`
    return reply
      .code(404)
      .send({ error: 'not found', message: `${what} Try GET /healthz, /readyz or /metrics.` })
  })
  app.setErrorHandler((error: { statusCode?: number }, request, reply) => {
    const status = statusOf(error) ?? error.statusCode ?? 500
    if (status >= 500) logger.error({ path: request.url, err: error }, 'an HTTP request failed')
    const message = status >= 500 ? 'The gateway failed; its log says why.' : messageOf(error)
    return reply.code(status).send({ error: 'failed', message })
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
 * Fastify without Ajv and the serializer compiler: no route has a schema, and unloaded they spare
 * 2.3 MiB of resident memory (measured). A route that gets a schema fails at start and says so.
 */
function lightFastify(): FastifyInstance {
  const refuse = () => {
    throw new Error('routes have no schemas: give fastify its compilers back first')
  }
  return fastify({
    logger: false,
    forceCloseConnections: true,
    requestTimeout: REQUEST_TIMEOUT_MS,
    bodyLimit: BODY_BYTES_MAX,
    schemaController: {
      compilersFactory: { buildValidator: () => refuse, buildSerializer: () => refuse },
    },
  })
}

function addRoutes(app: FastifyInstance, health: HealthSource, metrics: Metrics): void {
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const reasons = health.notReadyReasons()
    if (reasons.length === 0) return { status: 'ready' }
    return reply.code(503).send({ status: 'not ready', reasons })
  })
  app.get('/metrics', async (_request, reply) =>
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
