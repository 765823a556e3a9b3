import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { codeOf, messageOf } from '../base/errors.ts'
import type { Fault } from './fault.ts'

export type TomlFile =
  | { readonly kind: 'read'; readonly tree: unknown }
  | { readonly kind: 'fault'; readonly fault: Fault }

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a folder',
}

/** The tree of a TOML file, or why there is none. */
export function readToml(file: string): TomlFile {
  let source: string
  try {
    source = readFileSync(file, 'utf8')
  } catch (thrown) {
    const reason = reasons[codeOf(thrown) ?? ''] ?? messageOf(thrown)
    return { kind: 'fault', fault: { path: file, message: `cannot be read: ${reason}` } }
  }
  try {
    return { kind: 'read', tree: parse(source) }
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw thrown
    // The first line is the reason, the rest a picture of the place.
    const reason = thrown.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '')
    const path = `${file}:${thrown.line}:${thrown.column}`
    return { kind: 'fault', fault: { path, message: `is not valid TOML: ${reason}` } }
  }
}
