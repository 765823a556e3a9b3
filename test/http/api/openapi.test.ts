import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { schemaFault } from '../../../src/http/api/schema.ts'
import { asPosition } from '../../../src/log/log.ts'
import { givenApi } from './given.ts'

interface Schema {
  readonly examples?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}

interface Operation {
  readonly operationId: string
  readonly parameters: readonly { name: string; schema: Schema }[]
  readonly requestBody?: { content: { 'application/json': { schema: Schema } } }
  readonly responses: Readonly<Record<string, { content: Record<string, { schema: Schema }> }>>
}

type Document = { openapi: string; paths: Record<string, Record<string, Operation>> }

/** Another reading of JSON Schema than ours, by the validator that fastify brings along. */
const require = createRequire(import.meta.resolve('fastify'))
const { default: Ajv } = require('ajv/dist/2020') as {
  default: new (options: object) => { validate(schema: object, value: unknown): boolean }
}
const ajv = new Ajv({ strict: false, validateFormats: false })

async function documented(): Promise<Document> {
  const { get } = await givenApi()
  return (await (await get('/v1/openapi.json')).json()) as Document
}

/** What the source adds to the server: every route is written as `app.get('/…')`. */
function servedRoutes(): string[] {
  const folder = path.resolve(import.meta.dirname, '../../../src/http')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const texts = files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(path.join(folder, file), 'utf8'))
  const added = /app\.(get|post|put|patch|delete)(?:<.*>)?\(\s*'([^']+)'/g
  return texts
    .flatMap((text) => [...text.matchAll(added)])
    .map(([, method, url = '']) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`)
    .sort()
}

function* schemasOf(schema: Schema): Generator<Schema> {
  yield schema
  for (const inner of Object.values(schema.properties ?? {})) yield* schemasOf(inner)
  if (schema.items !== undefined) yield* schemasOf(schema.items)
}

function* allSchemas({ paths }: Document): Generator<Schema> {
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    for (const { schema } of operation.parameters) yield* schemasOf(schema)
    const body = operation.requestBody?.content['application/json'].schema
    if (body !== undefined) yield* schemasOf(body)
    for (const { content } of Object.values(operation.responses)) {
      for (const { schema } of Object.values(content)) yield* schemasOf(schema)
    }
  }
}

describe('the OpenAPI document', () => {
  it('has every route that is served', async () => {
    const { openapi, paths } = await documented()
    expect(openapi).toBe('3.1.0')
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    )
    expect(operations.sort()).toEqual(servedRoutes())
    expect(operations).toEqual(
      expect.arrayContaining([
        'get /healthz',
        'get /metrics',
        'get /readyz',
        'get /v1/bridges',
        'get /v1/cursors',
        'get /v1/gaps',
        'get /v1/openapi.json',
        'get /v1/streams',
        'get /v1/streams/{name}/follow',
        'get /v1/streams/{name}/records',
        'post /v1/bridges/{name}/pause',
        'post /v1/bridges/{name}/resume',
        'post /v1/bridges/{name}/seek',
        'post /v1/cursors/{name}/seek',
        'post /v1/streams/{name}/records',
      ]),
    )
    const ids = Object.values(paths).flatMap((path) =>
      Object.values(path).map(({ operationId }) => operationId),
    )
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('has examples that are what their schemas say', async () => {
    let examples = 0
    for (const schema of allSchemas(await documented())) {
      for (const example of schema.examples ?? []) {
        examples++
        expect(ajv.validate(schema, example), JSON.stringify(example)).toBe(true)
        expect(schemaFault(schema as object, example, 'it')).toBeUndefined()
      }
    }
    expect(examples).toBeGreaterThan(10)
  })

  it('describes the answers as they are', async () => {
    const { get, post, log } = await givenApi()
    const { paths } = (await (await get('/v1/openapi.json')).json()) as Document
    const properties = { user: [['a', 'b']] }
    await post('/v1/streams/plant/records', { topic: 'plant/a', payload: { a: 1 }, properties })
    await log.state.cursors.open('one', 'plant', 'stream', { kind: 'earliest' })
    await log.state.cursors.open('two', 'plant', 'partitions', { kind: 'earliest' })
    const [first, end] = [asPosition(0), asPosition(1)]
    const gap = { stream: 'plant', first, end, records: 1, sizeBytes: 9 }
    await log.state.gaps.add([{ ...gap, cursor: undefined, reason: 'policy' }])
    for (const route of [
      ...['/v1/streams', '/v1/cursors', '/v1/gaps', '/healthz', '/readyz', '/v1/openapi.json'],
      '/v1/streams/{name}/records',
    ]) {
      const schema = paths[route]?.['get']?.responses['200']?.content['application/json']?.schema
      const answer = await (await get(route.replace('{name}', 'plant'))).json()
      expect(ajv.validate(schema ?? {}, answer), `${route} ${JSON.stringify(answer)}`).toBe(true)
      expect(schemaFault(schema as object, answer, route)).toBeUndefined()
    }
  })
})
