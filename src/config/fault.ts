/** One thing that is wrong with a configuration. */
export interface Fault {
  /** Where: `stream[0].retention.age`, or the file with line and column when it is no TOML. */
  readonly path: string
  /** What was found and what is expected, for the person who wrote the file. */
  readonly message: string
}

/** The faults, one a line. */
export function formatFaults(faults: readonly Fault[]): string {
  return faults.map(({ path, message }) => `${path}: ${message}`).join('\n')
}

/** A path as people write it: keys joined by dots, places in a list in brackets, from 0. */
export function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'the file'
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? keyText(step) : `.${keyText(step)}`
  }
  return text
}

/** A key as TOML writes it: quoted when it has more than a bare key may have. */
function keyText(key: PropertyKey): string {
  const text = String(key)
  return /^[A-Za-z0-9_-]{1,64}$/.test(text) ? text : show(text)
}

const SHOWN_CHARACTERS_MAX = 60

/** A value as a fault shows it: short, and on one line whatever it contains. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    const cut = value.length > SHOWN_CHARACTERS_MAX
    return JSON.stringify(cut ? `${value.slice(0, SHOWN_CHARACTERS_MAX)}...` : value)
  }
  if (Array.isArray(value)) return 'a list'
  if (value instanceof Date) return 'a date'
  if (typeof value === 'object' && value !== null) return 'a table'
  return String(value)
}
