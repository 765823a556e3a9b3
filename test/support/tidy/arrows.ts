/** Who may import whom: docs/ARCHITECTURE.md draws it, these rules hold it. */
import { type Import, importsOf, type Rule, type SourceFile } from './sources.ts'

interface Arrows {
  readonly to: readonly string[]
  /** Only `import type`. */
  readonly typesOf?: readonly string[]
}

const arrows: Readonly<Record<string, Arrows>> = {
  base: { to: [] },
  log: { to: ['base'] },
  access: { to: ['base'] },
  consumers: { to: ['log', 'base'] },
  bridge: { to: ['log', 'base'] },
  mqtt: { to: ['access', 'consumers', 'log', 'base'] },
  http: { to: ['access', 'log', 'base'], typesOf: ['consumers', 'mqtt', 'bridge'] },
  config: { to: ['log', 'base'] },
  cli: { to: ['consumers', 'gateway.ts', 'bridge', 'config', 'access', 'log', 'base'] },
  'gateway.ts': { to: ['access', 'mqtt', 'consumers', 'bridge', 'http', 'config', 'log', 'base'] },
  'main.ts': { to: ['cli', 'base'] },
}

/** What the rest may import of a folder; `base` has no door, it is tools. */
const doors: Readonly<Record<string, readonly string[]>> = {
  log: [
    'log.ts',
    'open.ts',
    'topics.ts',
    'start.ts',
    'memory.ts',
    'reader/log-reader.ts',
    'state/offline.ts',
    'retention/retention.ts',
    'backup/backup.ts',
    'backup/restore.ts',
    'repair/verify.ts',
    'repair/notes.ts',
    'repair/sentences.ts',
  ],
  mqtt: ['mqtt.ts', 'front-end.ts', 'stats.ts'],
  access: ['access.ts'],
  consumers: ['consumers.ts', 'member.ts'],
  config: ['config.ts'],
  http: ['http.ts'],
  cli: ['program.ts', 'data-sink.ts', 'secret.ts'],
}

/** Files that nothing that runs needs, each with its reason. */
const notRun: Readonly<Record<string, string>> = {
  'src/log/memory.ts': 'the plain model that the contract suite compares the log with',
  'src/log/memory-routes.ts': 'the same',
  'src/log/state/memory-state.ts': 'the same',
  'src/log/memory-stream.ts': 'the same',
  'src/base/random.ts': 'chance for tests and simulations; nothing that runs draws lots yet',
}

export const arrowsPointOneWay: Rule = (files) =>
  localImports(files).flatMap(({ from, to, isTypeOnly }) => {
    const [own, other] = [folderOf(from), folderOf(to)]
    if (own === other) return []
    const allowed = arrows[own]
    if (allowed === undefined) return [`${from}: "${own}" has no arrows yet`]
    if (allowed.to.includes(other)) return []
    if (allowed.typesOf?.includes(other)) {
      return isTypeOnly ? [] : [`${from} may import only types of ${to}`]
    }
    return [
      `${from} must not import ${to}: ${own} may import ${allowed.to.join(', ') || 'nothing'}`,
    ]
  })

export const outsidersUseDoors: Rule = (files) =>
  localImports(files).flatMap(({ from, to }) => {
    const folder = folderOf(to)
    if (folder === folderOf(from)) return []
    const known = doors[folder]
    if (known === undefined || known.some((door) => to === `src/${folder}/${door}`)) return []
    return [`${from} imports ${to}, which is behind the door: ${known.join(', ')}`]
  })

export const onlyTheAdapterKnowsAedes: Rule = (files) =>
  files.flatMap(importsOf).flatMap(({ from, to }) => {
    const isAedes = /^aedes(-persistence)?(\/|$)/.test(to)
    return isAedes && !from.startsWith('src/mqtt/aedes/') ? [`${from} imports ${to}`] : []
  })

export const simulatorStandsAlone: Rule = (files) =>
  files
    .filter(({ path }) => path.startsWith('firmware-sim/'))
    .flatMap(importsOf)
    .filter(({ isLocal, to }) => isLocal && !to.startsWith('firmware-sim/'))
    .map(({ from, to }) => `${from} imports ${to}: the simulator speaks only MQTT`)

/** Types may know each other; code that runs would meet itself half loaded. */
export const noImportCycles: Rule = (files) => {
  const graph = graphOf(files, (one) => !one.isTypeOnly)
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file)
    if (at >= 0) cycles.push(`${[...trail.slice(at), file].join(' → ')}`)
    if (at >= 0 || done.has(file)) return
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return cycles
}

export const everyFileIsUsed: Rule = (files) => {
  const graph = graphOf(files)
  const reached = new Set<string>()
  const queue = ['src/main.ts', ...Object.keys(notRun)]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file)) continue
    reached.add(file)
    queue.push(...(graph.get(file) ?? []))
  }
  return files
    .map(({ path }) => path)
    .filter((path) => path.startsWith('src/') && !reached.has(path) && !(path in notRun))
    .map((path) => `${path} is not reached from src/main.ts`)
}

/** Which local files each file imports. */
function graphOf(
  files: readonly SourceFile[],
  counts: (one: Import) => boolean = () => true,
): Map<string, string[]> {
  return new Map(
    files.map((file) => [
      file.path,
      importsOf(file)
        .filter((one) => one.isLocal && counts(one))
        .map(({ to }) => to),
    ]),
  )
}

function localImports(files: readonly SourceFile[]): Import[] {
  return files
    .filter(({ path }) => path.startsWith('src/'))
    .flatMap(importsOf)
    .filter(({ isLocal }) => isLocal)
}

/** `src/log/reader/x.ts` → `log`; `src/main.ts` → `main.ts`. */
function folderOf(file: string): string {
  return file.split('/')[1] ?? file
}
