/**
 * The lines of a recorded room-climate data set. No header; twelve fields, separated by a comma and
 * a space:
 *
 *   entry id, absolute time (ms since 1970), relative time (s), node id, temperature (°C),
 *   relative humidity (%), light 1 (nm), light 2 (nm), occupants,
 *   activity (0 n/a, 1 read, 2 stand, 3 walk, 4 work), door (0 closed, 1 open), window (0, 1)
 */

const activities = ['n/a', 'read', 'stand', 'walk', 'work'] as const
export type Activity = (typeof activities)[number]

export interface RecordedReading {
  readonly entry: number
  /** ms since 1970, as recorded. */
  readonly recordedMs: number
  readonly node: string
  readonly temperature: number
  readonly humidity: number
  readonly light1: number
  readonly light2: number
  readonly occupants: number
  readonly activity: Activity
  readonly doorOpen: boolean
  readonly windowOpen: boolean
}

export type ParsedLine =
  | { readonly kind: 'reading'; readonly reading: RecordedReading }
  | { readonly kind: 'empty' }
  | { readonly kind: 'bad'; readonly reason: string }

const fieldNames = [
  'entry id',
  'absolute time',
  'relative time',
  'node id',
  'temperature',
  'relative humidity',
  'light 1',
  'light 2',
  'occupants',
  'activity',
  'door',
  'window',
] as const
type FieldName = (typeof fieldNames)[number]

/**
 * A node id becomes part of a topic and of a client id, so it may hold no wildcard and no level.
 */
const nodePattern = /^[A-Za-z0-9_.-]{1,64}$/

/** Reads one line. Never throws: a line that is no reading is told with the reason. */
export function parseLine(line: string): ParsedLine {
  if (line.trim() === '') return { kind: 'empty' }
  const fields = line.split(',').map((field) => field.trim())
  if (fields.length !== fieldNames.length) {
    return { kind: 'bad', reason: `${fields.length} fields instead of ${fieldNames.length}` }
  }
  const faults: string[] = []
  const text = (name: FieldName): string => fields[fieldNames.indexOf(name)] ?? ''
  const number = (name: FieldName, allowed: (n: number) => boolean = Number.isFinite): number => {
    const field = text(name)
    const value = field === '' ? Number.NaN : Number(field)
    if (!allowed(value)) faults.push(`${name} is ${JSON.stringify(field)}`)
    return value
  }
  const flag = (name: FieldName): boolean => number(name, (n) => n === 0 || n === 1) === 1
  number('relative time')
  const node = text('node id')
  if (!nodePattern.test(node)) faults.push(`node id is ${JSON.stringify(node)}`)
  const reading: RecordedReading = {
    entry: number('entry id', Number.isSafeInteger),
    recordedMs: number('absolute time'),
    node,
    temperature: number('temperature'),
    humidity: number('relative humidity'),
    light1: number('light 1'),
    light2: number('light 2'),
    occupants: number('occupants', (n) => Number.isSafeInteger(n) && n >= 0),
    activity: activities[number('activity', (n) => activities[n] !== undefined)] ?? 'n/a',
    doorOpen: flag('door'),
    windowOpen: flag('window'),
  }
  const [reason] = faults
  return reason === undefined ? { kind: 'reading', reading } : { kind: 'bad', reason }
}
