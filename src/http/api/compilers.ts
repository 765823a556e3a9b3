/** Fastify's checks of requests, done by the small schema check of our own. */
import type { FastifyInstance, FastifySchemaCompiler } from 'fastify'
import { badRequest } from './api-error.ts'
import { type JsonSchema, parameterFault, schemaFault } from './schema.ts'

const HINT = '/v1/openapi.json describes what each request takes.'

const validatorCompiler: FastifySchemaCompiler<JsonSchema> = ({ schema, httpPart }) => {
  const faultOf = httpPart === 'body' ? bodyFault : parametersFault
  return (data: unknown) => {
    const fault = faultOf(schema, data)
    return fault === undefined ? { value: data } : { error: badRequest(`${fault}.`, HINT) }
  }
}

/** Answers are made by the routes: they are written as JSON as they are, whatever their schema. */
export function addCompilers(app: FastifyInstance): void {
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(() => (data: unknown) => JSON.stringify(data))
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
      const names = [...known.keys()].join(', ')
      return `there is no parameter "${name.slice(0, 40)}": there are ${names}`
    }
    const fault = parameterFault(own, value, `the parameter ${name}`)
    if (fault !== undefined) return fault
  }
  const missing = schema.required?.find((name) => !given.has(name))
  return missing === undefined ? undefined : `the parameter ${missing} is missing`
}
