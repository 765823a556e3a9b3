/** The OpenAPI 3.1 document, made from the schemas with which the routes check their requests. */
import type { FastifyInstance } from 'fastify'
import { errorSchema, json, object, type RouteSchema } from './route-schema.ts'
import type { JsonSchema } from './schema.ts'

interface Operation {
  readonly method: string
  readonly url: string
  readonly schema: Partial<RouteSchema>
}

type Json = Readonly<Record<string, unknown>>

const schema: RouteSchema = {
  operationId: 'openapi',
  summary: 'This document',
  response: { 200: json('An OpenAPI 3.1 document.', object({ openapi: { type: 'string' } })) },
}

/** Call it before any route is added: it notes them as they come. */
export function addOpenApi(app: FastifyInstance, version: string): void {
  const operations: Operation[] = []
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) {
      if (method === 'HEAD') continue
      const { url, schema: own = {} } = route
      operations.push({ method: method.toLowerCase(), url, schema: own as Partial<RouteSchema> })
    }
  })
  app.get('/v1/openapi.json', { schema }, async () => openApi(operations, version))
}

function openApi(operations: readonly Operation[], version: string): Json {
  const paths = new Map<string, [string, Json][]>()
  for (const operation of operations) {
    const path = operation.url.replace(/:(\w+)/g, '{$1}')
    const known = paths.get(path) ?? []
    paths.set(path, [...known, [operation.method, operationOf(operation, path)]])
  }
  const entries = [...paths].map(([path, methods]) => [path, Object.fromEntries(methods)] as const)
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version,
      description: 'The log of a gateway: read it, follow it, add to it, and move its cursors.',
    },
    paths: Object.fromEntries(entries),
    components: {
      schemas: { Error: errorSchema },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
    // Without a configured token nothing is asked for: both are true.
    security: [{ token: [] }, {}],
  }
}

function operationOf({ method, schema: own }: Operation, path: string): Json {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const named = new Map(Object.entries(own.params?.properties ?? {}))
  return {
    operationId:
      own.operationId ?? `${method}${path.replace(/\W+(\w)/g, (_, c) => c.toUpperCase())}`,
    summary: own.summary ?? `${method.toUpperCase()} ${path}`,
    ...(own.description === undefined ? {} : { description: own.description }),
    parameters: [
      ...inPath.map((name) => parameter(name, 'path', named.get(name) ?? { type: 'string' }, true)),
      ...Object.entries(own.querystring?.properties ?? {}).map(([name, one]) =>
        parameter(name, 'query', one, own.querystring?.required?.includes(name) ?? false),
      ),
    ],
    ...(own.body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: own.body } } } }),
    responses: {
      ...(own.response ?? { 200: json('Done.', { type: 'object' }) }),
      default: json('The request is not served.', { $ref: '#/components/schemas/Error' }),
    },
  }
}

function parameter(name: string, place: string, one: JsonSchema, required: boolean): Json {
  const { description, ...rest } = one
  return { name, in: place, required, ...(description && { description }), schema: rest }
}
