import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

export interface SourceFile {
  /** From the root of the repository, with forward slashes. */
  readonly path: string
  readonly text: string
}

/** A rule: the files in, a sentence for each violation out. */
export type Rule = (files: readonly SourceFile[]) => string[]

export interface Import {
  readonly from: string
  /** The imported file for a relative import, else the package's name. */
  readonly to: string
  readonly isLocal: boolean
  readonly isTypeOnly: boolean
}

/** All files below `folders` with one of `endings`. */
export function sourceFiles(folders: readonly string[], endings: readonly string[]): SourceFile[] {
  return folders
    .flatMap((folder) => filesBelow(folder))
    .filter((file) => endings.some((ending) => file.endsWith(ending)))
    .sort()
    .map((file) => ({ path: file, text: readFileSync(path.join(ROOT, file), 'utf8') }))
}

/** The files at the root of the repository with one of `endings`. */
export function rootFiles(endings: readonly string[]): SourceFile[] {
  return readdirSync(ROOT)
    .filter((file) => endings.some((ending) => file.endsWith(ending)))
    .map((file) => ({ path: file, text: readFileSync(path.join(ROOT, file), 'utf8') }))
}

function filesBelow(folder: string): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath, entry.name)))
    .map((file) => file.split(path.sep).join('/'))
}

const STATEMENT = /^[ \t]*(import|export)\s+(type\s+)?[^'";]*?\bfrom\s+'([^']+)'/gm
const BARE = /^[ \t]*import\s+'([^']+)'/gm
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)/g
/** How a thread's module is named. */
const WORKER = /new URL\(\s*'(\.[^']+\.ts)',\s*import\.meta\.url\s*\)/g

/** What a file imports: statements, dynamic imports and the modules of its threads. */
export function importsOf(file: SourceFile): Import[] {
  const text = withoutComments(file.text)
  const found: Import[] = []
  const add = (target: string | undefined, isTypeOnly: boolean): void => {
    if (target === undefined) return
    const isLocal = target.startsWith('.')
    const to = isLocal ? path.posix.join(path.posix.dirname(file.path), target) : target
    found.push({ from: file.path, to, isLocal, isTypeOnly })
  }
  for (const match of text.matchAll(STATEMENT)) add(match[3], match[2] !== undefined)
  for (const match of text.matchAll(BARE)) add(match[1], false)
  for (const match of text.matchAll(DYNAMIC)) add(match[1], false)
  for (const match of text.matchAll(WORKER)) add(match[1], false)
  return found
}

/** The text with its comments blanked, line by line, so that numbers of lines stay. */
export function withoutComments(text: string): string {
  return text
    .replace(/^[ \t]*\/\*\*?[\s\S]*?\*\//gm, (comment) => comment.replace(/[^\n]/g, ''))
    .replace(/(^|\s)\/\/.*$/gm, '$1')
}
