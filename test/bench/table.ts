/** The pure part of the bench: medians, ratios, and the table they are shown in. */

/** What a figure is counted in. More is better for rates and `share`, less for the rest. */
export type Unit = 'messages/s' | 'ms' | 's' | 'MiB' | 'KiB' | 'bytes/byte' | 'share'

export interface FigureResult {
  readonly name: string
  readonly title: string
  readonly unit: Unit
  /** One reading a round, in the order of the rounds; empty where it was not measured. */
  readonly sluice: readonly number[]
  readonly mosquitto: readonly number[]
}

export interface CaseResult {
  readonly name: string
  readonly title: string
  readonly figures: readonly FigureResult[]
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** The reading below which `share` (0 to 1) of them lie; NaN of none. */
export function quantile(readings: readonly number[], share: number): number {
  const sorted = readings.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** The middle reading, or the mean of the two in the middle; NaN of none. */
export function median(readings: readonly number[]): number {
  const sorted = readings.toSorted((a, b) => a - b)
  const half = sorted.length / 2
  const upper = sorted[Math.floor(half)] ?? Number.NaN
  const lower = Number.isInteger(half) ? (sorted[half - 1] ?? Number.NaN) : upper
  return (lower + upper) / 2
}

/**
 * The ratio of each round's two readings. A round's pair was taken within seconds, so what else
 * the machine did at the time is in both; the ratio of two medians would mix rounds.
 */
export function pairwiseRatio(
  above: readonly number[],
  below: readonly number[],
): Spread | undefined {
  const ratios = above.slice(0, below.length).map((value, i) => value / (below[i] ?? Number.NaN))
  const sound = ratios.filter(Number.isFinite)
  if (sound.length === 0) return undefined
  return { median: median(sound), min: Math.min(...sound), max: Math.max(...sound) }
}

/** Three significant digits, and thousands apart: 141,000 and 0.355. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const rounded = Number(value.toPrecision(3))
  if (Math.abs(value) >= 100) return Math.round(rounded).toLocaleString('en-US')
  return rounded === 0 ? '0' : value.toPrecision(3)
}

export function formatRatio(ratio: Spread | undefined): string {
  if (ratio === undefined) return ''
  const range = `(${ratio.min.toFixed(2)}-${ratio.max.toFixed(2)})`
  return `${ratio.median.toFixed(2)} ${range}`
}

/** How the medians of Sluice compare with those of an earlier run. */
export function baselineRatio(
  figure: FigureResult,
  caseName: string,
  baseline: readonly CaseResult[],
): string {
  const before = baseline
    .find(({ name }) => name === caseName)
    ?.figures.find(({ name }) => name === figure.name)
  const ratio = median(figure.sluice) / median(before?.sluice ?? [])
  return Number.isFinite(ratio) ? `x ${ratio.toFixed(2)}` : '-'
}

/** One line a figure: the medians of both and the median ratio with its smallest and largest. */
export function renderTable(
  cases: readonly CaseResult[],
  baseline?: readonly CaseResult[],
): string {
  const head = ['', 'unit', 'Sluice', 'Mosquitto', 'Sluice/Mosquitto']
  const lines = [baseline === undefined ? head : [...head, 'Sluice before']]
  for (const { name, title, figures } of cases) {
    lines.push([`${title} [${name}]`])
    for (const figure of figures) {
      const cells = [
        `  ${figure.title}`,
        figure.unit,
        figure.sluice.length === 0 ? '' : formatNumber(median(figure.sluice)),
        figure.mosquitto.length === 0 ? '' : formatNumber(median(figure.mosquitto)),
        formatRatio(pairwiseRatio(figure.sluice, figure.mosquitto)),
      ]
      if (baseline !== undefined) cells.push(baselineRatio(figure, name, baseline))
      lines.push(cells)
    }
  }
  return alignColumns(lines)
}

/** Pads the cells of a column to one width: text columns to the left, figures to the right. */
export function alignColumns(lines: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const cells of lines) {
    // A line of one cell is a heading and may be longer than the column it begins in.
    if (cells.length === 1) continue
    for (const [i, cell] of cells.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  }
  return lines
    .map((cells) =>
      cells
        .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
