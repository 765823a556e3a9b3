/** What a route says of itself: checked against requests, and written into the OpenAPI document. */
import type { FastifySchema } from 'fastify'
import type { JsonSchema } from './schema.ts'

export interface ResponseSchema {
  readonly description: string
  readonly content: Readonly<Record<string, { readonly schema: JsonSchema }>>
}

export interface RouteSchema extends FastifySchema {
  readonly operationId: string
  readonly summary: string
  readonly description?: string
  readonly params?: JsonSchema
  readonly querystring?: JsonSchema
  readonly body?: JsonSchema
  readonly response: Readonly<Record<number, ResponseSchema>>
}

/** An answer in JSON. */
export function json(description: string, schema: JsonSchema): ResponseSchema {
  return { description, content: { 'application/json': { schema } } }
}

export function object(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = Object.keys(properties),
): JsonSchema {
  return { type: 'object', properties, required }
}

/** The parameters of a request: what is not among them is refused, which finds misspelt names. */
export function parameters(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): JsonSchema {
  return { type: 'object', properties, required, additionalProperties: false }
}

export const errorSchema = object(
  {
    error: { type: 'string', description: 'For programs: stable.' },
    message: { type: 'string', description: 'What is wrong, and why.' },
    hint: { type: 'string', description: 'What to do.' },
  },
  ['error', 'message'],
)
