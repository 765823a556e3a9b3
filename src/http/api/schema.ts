/**
 * The part of JSON Schema that the routes use, and a check of values against it. One schema serves
 * both the check of a request and the OpenAPI document. Written by hand: a general validator costs
 * 2.3 MiB of resident memory (measured), and its sentences do not say what to send instead.
 */
export interface JsonSchema {
  readonly type?: JsonType | readonly JsonType[]
  readonly $ref?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: false | JsonSchema
  readonly items?: JsonSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly enum?: readonly (string | number)[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly format?: string
  readonly default?: unknown
  readonly examples?: readonly unknown[]
}

type JsonType = 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean' | 'null'

/** Why `value` is not what the schema says; undefined when it is. `name` is what it is called. */
export function schemaFault(schema: JsonSchema, value: unknown, name: string): string | undefined {
  if (schema.type !== undefined && !hasType(schema.type, value)) {
    return `${name} is ${kindOf(value)}, not ${[schema.type].flat().map(withArticle).join(' or ')}`
  }
  if (schema.enum !== undefined && !schema.enum.some((one) => one === value)) {
    return `${name} is ${shown(value)}, not one of ${schema.enum.join(', ')}`
  }
  if (typeof value === 'number') return numberFault(schema, value, name)
  if (typeof value === 'string') return stringFault(schema, value, name)
  if (Array.isArray(value)) return arrayFault(schema, value, name)
  return typeof value === 'object' && value !== null
    ? objectFault(schema, new Map(Object.entries(value)), name)
    : undefined
}

/** A query or path parameter is text: numbers are read as such first. */
export function parameterFault(
  schema: JsonSchema,
  text: unknown,
  name: string,
): string | undefined {
  const wantsNumber = schema.type === 'integer'
  if (Array.isArray(text)) return `${name} is given twice`
  const isNumber = typeof text === 'string' && /^\d{1,16}$/.test(text)
  if (wantsNumber && !isNumber) return `${name} is ${shown(text)}, not a whole number`
  return schemaFault(schema, wantsNumber ? Number(text) : text, name)
}

function hasType(type: JsonType | readonly JsonType[], value: unknown): boolean {
  return [type]
    .flat()
    .some((one) => (one === 'integer' ? Number.isInteger(value) : one === typeOf(value)))
}

function typeOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function numberFault(schema: JsonSchema, value: number, name: string): string | undefined {
  if (schema.minimum !== undefined && value < schema.minimum) {
    return `${name} is ${value}, the least is ${schema.minimum}`
  }
  if (schema.maximum !== undefined && value > schema.maximum) {
    return `${name} is ${value}, the most is ${schema.maximum}`
  }
  return undefined
}

function stringFault(schema: JsonSchema, value: string, name: string): string | undefined {
  if (schema.minLength !== undefined && [...value].length < schema.minLength)
    return `${name} is empty`
  if (schema.maxLength !== undefined && [...value].length > schema.maxLength) {
    return `${name} has more than ${schema.maxLength} characters`
  }
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
    return `${name} is ${shown(value)}, which does not have the form ${schema.pattern}`
  }
  return undefined
}

function arrayFault(
  schema: JsonSchema,
  value: readonly unknown[],
  name: string,
): string | undefined {
  if (schema.minItems !== undefined && value.length < schema.minItems) {
    return `${name} has ${value.length} items, the least is ${schema.minItems}`
  }
  if (schema.maxItems !== undefined && value.length > schema.maxItems) {
    return `${name} has ${value.length} items, the most is ${schema.maxItems}`
  }
  const { items } = schema
  if (items === undefined) return undefined
  for (const [index, item] of value.entries()) {
    const fault = schemaFault(items, item, `${name}[${index}]`)
    if (fault !== undefined) return fault
  }
  return undefined
}

function objectFault(
  schema: JsonSchema,
  members: ReadonlyMap<string, unknown>,
  name: string,
): string | undefined {
  const missing = schema.required?.find((one) => !members.has(one))
  if (missing !== undefined) return `${name} has no "${missing}"`
  const known = new Map(Object.entries(schema.properties ?? {}))
  for (const [key, value] of members) {
    const inner = known.get(key) ?? schema.additionalProperties
    if (inner === false) {
      return `${name} has "${key.slice(0, 40)}", which is none of ${[...known.keys()].join(', ')}`
    }
    const fault =
      inner === undefined ? undefined : schemaFault(inner, value, `${name}.${key.slice(0, 40)}`)
    if (fault !== undefined) return fault
  }
  return undefined
}

function kindOf(value: unknown): string {
  return value === undefined ? 'missing' : withArticle(typeOf(value))
}

function withArticle(type: string): string {
  if (type === 'null') return type
  return `${/^[aio]/.test(type) ? 'an' : 'a'} ${type}`
}

function shown(value: unknown): string {
  return JSON.stringify(value)?.slice(0, 80) ?? 'missing'
}
