import { z } from 'zod'

/** The schema below whatever is wrapped around it: a default, a transform, "may be missing". */
function core(schema: unknown): unknown {
  let inner = schema
  for (;;) {
    if (inner instanceof z.ZodPipe) inner = inner.in
    else if (
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodPrefault
    ) {
      inner = inner.unwrap()
    } else return inner
  }
}

/** The keys of the table at `path`; none when there is no table. */
export function keysAt(schema: unknown, path: readonly PropertyKey[]): readonly string[] {
  let inner = core(schema)
  for (const step of path) {
    if (inner instanceof z.ZodArray) inner = core(inner.element)
    else if (inner instanceof z.ZodObject) inner = core(inner.shape[String(step)])
  }
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

/** Every key that holds a value, without places in lists: `mqtt.listener.tls.cert_file`. */
export function allKeys(schema: unknown, prefix = ''): readonly string[] {
  const inner = core(schema)
  if (inner instanceof z.ZodArray) {
    const element = core(inner.element)
    return element instanceof z.ZodObject ? allKeys(element, prefix) : [prefix]
  }
  if (!(inner instanceof z.ZodObject)) return [prefix]
  return Object.entries(inner.shape).flatMap(([key, child]) =>
    allKeys(child, prefix === '' ? key : `${prefix}.${key}`),
  )
}
