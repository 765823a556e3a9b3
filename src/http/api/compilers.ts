/** Fastify's hooks for checking requests, with the small schema check of our own. */
import type { FastifyServerOptions } from 'fastify'
import { badRequest } from './api-error.ts'
import { type JsonSchema, parameterFault, schemaFault } from './schema.ts'

type Controller = NonNullable<FastifyServerOptions['schemaController']>
type Factory = NonNullable<Controller['compilersFactory']>

const HINT = '/v1/openapi.json describes what each request takes.'

/** Answers are made by the routes themselves: they are written as JSON, whatever their schema. */
export const compilersFactory: Factory = {
  buildValidator: () => (route) => {
    const schema = route.schema as JsonSchema
    const check = route.httpPart === 'body' ? bodyFault : parametersFault
    return (data: unknown) => {
      const fault = check(schema, data)
      return fault === undefined ? true : { error: badRequest(`${fault}.`, HINT) }
    }
  },
  buildSerializer: () => () => (data: unknown) => JSON.stringify(data),
}

function bodyFault(schema: JsonSchema, body: unknown): string | undefined {
  return schemaFault(schema, body ?? undefined, 'the body')
}

function parametersFault(schema: JsonSchema, data: unknown): string | undefined {
  const known = new Map(Object.entries(schema.properties ?? {}))
  const given = new Map(Object.entries(data ?? {}))
  for (const [name, value] of given) {
    const own = known.get(name)
    if (own === undefined) {
      return `there is no parameter "${name.slice(0, 40)}": there are ${[...known.keys()].join(', ')}`
    }
    const fault = parameterFault(own, value, `the parameter ${name}`)
    if (fault !== undefined) return fault
  }
  const missing = schema.required?.find((name) => !given.has(name))
  return missing === undefined ? undefined : `the parameter ${missing} is missing`
}
