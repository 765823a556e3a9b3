import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import * as arrows from './support/tidy/arrows.ts'
import { ROOT, type Rule, rootFiles, type SourceFile, sourceFiles } from './support/tidy/sources.ts'
import * as text from './support/tidy/text-rules.ts'

const code = sourceFiles(['src', 'firmware-sim'], ['.ts'])
const tests = sourceFiles(['test'], ['.ts'])
const docs = [...rootFiles(['.md']), ...sourceFiles(['docs'], ['.md'])]
const scripts = Object.keys(
  JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')).scripts,
)

const file = (name: string, content: string): SourceFile => ({ path: name, text: content })
const unfinishedWord = 'TO'.concat('DO')

interface Case {
  readonly says: string
  readonly rule: Rule
  readonly files: readonly SourceFile[]
  /** Breaks the rule once in each file. */
  readonly wrong: readonly SourceFile[]
  readonly right: readonly SourceFile[]
}

const cases: readonly Case[] = [
  {
    says: 'imports point along the arrows',
    rule: arrows.arrowsPointOneWay,
    files: code,
    wrong: [
      file('src/base/x.ts', "import { a } from '../log/log.ts'"),
      file('src/log/x.ts', "export * from '../mqtt/mqtt.ts'"),
      file('src/http/x.ts', "import { dropReasons } from '../mqtt/stats.ts'"),
      file('src/cli/x.ts', "const { m } = await import('../mqtt/mqtt.ts')"),
      file('src/log/reader/x.ts', "import {\n  a,\n  b,\n} from '../../mqtt/mqtt.ts'"),
      file('src/novel/x.ts', "import { a } from '../base/clock.ts'"),
    ],
    right: [
      file('src/http/x.ts', "import type { MqttStats } from '../mqtt/stats.ts'"),
      file('src/log/x.ts', "// import { a } from '../mqtt/mqtt.ts'\nimport '../base/clock.ts'"),
    ],
  },
  {
    says: 'outsiders import a folder through its doors',
    rule: arrows.outsidersUseDoors,
    files: code,
    wrong: [file('src/mqtt/x.ts', "import type { Slab } from '../log/slab.ts'")],
    right: [
      file('src/mqtt/x.ts', "import { LogRecord } from '../log/log.ts'"),
      file('src/log/x.ts', "import { Slab } from './slab.ts'"),
    ],
  },
  {
    says: 'only the adapter knows aedes',
    rule: arrows.onlyTheAdapterKnowsAedes,
    files: code,
    wrong: [file('src/mqtt/x.ts', "import { Aedes } from 'aedes'")],
    right: [file('src/mqtt/aedes/x.ts', "import { Aedes } from 'aedes'")],
  },
  {
    says: 'the simulator stands alone',
    rule: arrows.simulatorStandsAlone,
    files: code,
    wrong: [file('firmware-sim/x.ts', "import { systemClock } from '../src/base/clock.ts'")],
    right: [file('firmware-sim/x.ts', "import { a } from './a.ts'\nimport mqtt from 'mqtt'")],
  },
  {
    says: 'no file imports itself in a circle',
    rule: arrows.noImportCycles,
    files: code,
    wrong: [
      file('src/log/a.ts', "import { b } from './b.ts'"),
      file('src/log/b.ts', "import { a } from './a.ts'"),
    ],
    right: [file('src/log/a.ts', "import { b } from './b.ts'"), file('src/log/b.ts', '')],
  },
  {
    says: 'every source file is reached from main.ts',
    rule: arrows.everyFileIsUsed,
    files: code,
    wrong: [file('src/log/forgotten.ts', '')],
    right: [
      file('src/main.ts', "await import('./cli/program.ts')"),
      file('src/cli/program.ts', "new URL('./worker.ts', import.meta.url)"),
      file('src/cli/worker.ts', ''),
    ],
  },
  {
    says: 'time, chance, output and the environment come through their ports',
    rule: text.bannedCallsStayOut,
    files: code,
    wrong: [
      file('src/log/x.ts', 'const a = Date.now()'),
      file('src/log/x.ts', 'const a = Math.random()'),
      file('src/cli/x.ts', "console.log('x')"),
      file('src/cli/x.ts', 'process.env.HOME'),
    ],
    right: [
      file('src/base/clock.ts', 'now: () => Date.now()'),
      file('src/log/x.ts', '/** Not Date.now, which jumps. */\nclock.now()'),
    ],
  },
  {
    says: 'nothing is left for later',
    rule: text.nothingIsLeftForLater,
    files: [...code, ...tests, ...docs],
    wrong: [file('src/log/x.ts', `// ${unfinishedWord}: later`)],
    right: [file('src/log/x.ts', `const ${unfinishedWord}S = 1`)],
  },
  {
    says: 'lines have at most 100 columns',
    rule: text.linesAreShort,
    files: [...code, ...tests],
    wrong: [file('src/log/x.ts', 'x'.repeat(101))],
    right: [file('src/log/x.ts', `${'😀'.repeat(100)}\n${'x'.repeat(100)}`)],
  },
  {
    says: 'functions have at most 70 lines',
    rule: text.functionsAreShort,
    files: code,
    wrong: [
      file('src/log/x.ts', `export function f(): void {\n${'  a()\n'.repeat(69)}}\n`),
      file(
        'src/log/x.ts',
        `class A {\n  async m(\n    a: A,\n  ) {\n${'    a()\n'.repeat(69)}  }\n}`,
      ),
      file('src/log/x.ts', `const f = () => {\n${'  a()\n'.repeat(69)}}\n`),
    ],
    right: [
      file('src/log/x.ts', `function f(): void {\n${'  a()\n'.repeat(68)}}\n`),
      file('src/log/x.ts', `class A {\n${'  m() {\n    a()\n  }\n'.repeat(40)}}\n`),
    ],
  },
  {
    says: 'docs name files and scripts that exist',
    rule: text.docsAreTrue(scripts),
    files: docs,
    wrong: [
      file('docs/x.md', 'See `src/log/never-was.ts`.'),
      file('docs/x.md', 'Then `npm run never-was`.'),
    ],
    right: [
      file('docs/x.md', 'See `src/log/log.ts` and `npm run build`; not `src/<folder>/x.ts`.'),
    ],
  },
]

describe.each(cases)('$says', ({ rule, files, wrong, right }) => {
  it('in the whole repository', () => {
    expect(rule(files)).toEqual([])
  })

  it('and the rule can tell', () => {
    const main = file('src/main.ts', '')
    const apart = rule === arrows.noImportCycles ? [wrong] : wrong.map((one) => [main, one])
    for (const planted of apart) {
      expect(rule(planted), JSON.stringify(planted.at(-1))).toHaveLength(1)
    }
    expect(rule(right)).toEqual([])
  })
})

it('finds the sources it speaks of', () => {
  expect(code.length).toBeGreaterThan(50)
  expect(tests.length).toBeGreaterThan(10)
  expect(code.map((one) => one.path)).toContain('src/log/log.ts')
})
