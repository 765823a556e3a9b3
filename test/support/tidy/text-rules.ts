import { existsSync } from 'node:fs'
import path from 'node:path'
import { ROOT, type Rule, type SourceFile, withoutComments } from './sources.ts'

const COLUMNS_MAX = 100
const FUNCTION_LINES_MAX = 70

interface Banned {
  readonly pattern: RegExp
  readonly instead: string
  readonly isAllowedIn: (file: string) => boolean
}

const never = () => false
const inBase = (file: string) => file.startsWith('src/base/')

const bannedInSource: readonly Banned[] = [
  { pattern: /\bDate\.now\b|\bnew Date\(\)/, instead: 'clock.now()', isAllowedIn: inBase },
  { pattern: /\bMath\.random\b/, instead: 'a Random', isAllowedIn: inBase },
  { pattern: /\bconsole\./, instead: 'the logger or a CliOutput', isAllowedIn: never },
  {
    pattern: /\bprocess\.env\b/,
    instead: 'the configuration',
    isAllowedIn: (file) => file === 'src/main.ts',
  },
]

/** Each word in two parts, so that this file does not contain it. */
const unfinished = new RegExp(`\\b(${['TO'.concat('DO'), 'FIX'.concat('ME')].join('|')})\\b`)

export const bannedCallsStayOut: Rule = (files) =>
  eachLine(files.filter(({ path: file }) => file.startsWith('src/')).map(plain), (line, file) =>
    bannedInSource
      .filter(({ pattern, isAllowedIn }) => pattern.test(line) && !isAllowedIn(file))
      .map(({ pattern, instead }) => `${pattern.source} is banned, use ${instead}`),
  )

export const nothingIsLeftForLater: Rule = (files) =>
  eachLine(files, (line) => (unfinished.test(line) ? ['left for later'] : []))

/** What cannot be broken may be longer: a line that is one string, and the name of a test. */
const UNBREAKABLE = /^\s*([?:] )?['"`].*['"`],?$|^\s*(it|test)\(/

export const linesAreShort: Rule = (files) =>
  eachLine(files, (line) => {
    if (UNBREAKABLE.test(line)) return []
    const columns = [...line].length
    return columns > COLUMNS_MAX ? [`${columns} columns, at most ${COLUMNS_MAX}`] : []
  })

/**
 * A ratchet, not a style: functions are found by their formatted shape. A line that ends with {
 * after a parameter list or an arrow begins one; the } at its indentation ends it.
 */
export const functionsAreShort: Rule = (files) =>
  files.flatMap(({ path: file, text }) => {
    const lines = text.split('\n')
    return lines.flatMap((line, index) => {
      if (!/(\)|\): .+|=>) \{$/.test(line)) return []
      if (/^\s*(if|for|while|switch|\} else|\} catch)\b/.test(line)) return []
      const indent = /^\s*/.exec(line)?.[0] ?? ''
      const end = lines.findIndex((other, at) => at > index && other.startsWith(`${indent}}`))
      const length = end - index + 1
      if (length <= FUNCTION_LINES_MAX) return []
      return [`${file}:${index + 1}: a function of ${length} lines, at most ${FUNCTION_LINES_MAX}`]
    })
  })

const REPO_PATH = /`((?:src|test|docs|firmware-sim|\.ci)\/[\w./-]+)`/g
const NPM_SCRIPT = /\bnpm run (?:--?[\w-]+ )*([\w:-]+)/g

/** Paths in backticks that look like ours exist; scripts that are told to be run do as well. */
export function docsAreTrue(scripts: readonly string[]): Rule {
  return (files) =>
    eachLine(files, (line) => [
      ...[...line.matchAll(REPO_PATH)]
        .map((match) => match[1] ?? '')
        .filter((file) => !existsSync(path.join(ROOT, file)))
        .map((file) => `there is no ${file}`),
      ...[...line.matchAll(NPM_SCRIPT)]
        .map((match) => match[1] ?? '')
        .filter((script) => !scripts.includes(script))
        .map((script) => `there is no script "${script}"`),
    ])
}

function plain({ path: file, text }: SourceFile): SourceFile {
  return { path: file, text: withoutComments(text) }
}

function eachLine(
  files: readonly SourceFile[],
  check: (line: string, file: string) => readonly string[],
): string[] {
  return files.flatMap(({ path: file, text }) =>
    text
      .split('\n')
      .flatMap((line, index) => check(line, file).map((fault) => `${file}:${index + 1}: ${fault}`)),
  )
}
