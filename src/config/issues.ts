import type { z } from 'zod'
import { type Fault, pathText, show } from './fault.ts'
import { nearest } from './nearest.ts'
import { keysAt } from './schema-keys.ts'

type Issue = z.core.$ZodIssue

/** zod's issues as faults; an issue about several unknown keys is a fault for each. */
export function faultsOf(issues: readonly Issue[], schema: unknown, source: unknown): Fault[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      const known = keysAt(schema, issue.path)
      return issue.keys.map((key) => ({
        path: pathText([...issue.path, key]),
        message: unknownKey(key, known),
      }))
    }
    const path = pathText(issue.path)
    if (issue.code !== 'invalid_type') return [{ path, message: issue.message }]
    return [{ path, message: wrongShape(valueAt(source, issue.path), issue.expected) }]
  })
}

/** The leaves report for themselves: what is left to zod are tables and lists. */
function wrongShape(found: unknown, expected: string): string {
  const shape = expected === 'array' ? 'a list' : 'a table'
  return `${found === undefined ? 'it is required' : `found ${show(found)}`}, expected ${shape}`
}

function unknownKey(key: string, known: readonly string[]): string {
  const word = key.toLowerCase().replaceAll('-', '_')
  const file = known.find((candidate) => candidate === `${word}_file`)
  if (file !== undefined) {
    return `unknown key: the value belongs in a file of its own, whose name stands in "${file}"`
  }
  const near = nearest(key, known)
  if (near !== undefined) return `unknown key, did you mean "${near}"?`
  return `unknown key, expected one of ${known.join(', ')}`
}

function valueAt(source: unknown, path: readonly PropertyKey[]): unknown {
  let value = source
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = Object.entries(value).find(([key]) => key === String(step))?.[1]
  }
  return value
}
