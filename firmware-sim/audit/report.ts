/** The audit as a table for a person. */
import type { AuditResult } from './audit-fleet.ts'

const headings = ['readings', 'lost', 'duplicated', 'out of order', 'explained by gaps']

export function reportLines(result: AuditResult): string[] {
  const { sent, acknowledged, dropped, stages, foreign, unreadable } = result
  const rows: (readonly string[])[] = [
    ['', ...headings],
    ['sent', String(sent)],
    ['acknowledged', String(acknowledged)],
    ['dropped', String(dropped)],
    ...stages.map((one) => [
      one.name,
      ...[one.readings, one.lost, one.duplicated, one.outOfOrder, one.explained].map(String),
    ]),
  ]
  const first = Math.max(...rows.map(([name = '']) => name.length))
  const lines = rows.map(([name = '', ...cells]) => {
    const right = cells.map((cell, i) => cell.padStart((headings[i]?.length ?? 0) + 2))
    return name.padEnd(first) + right.join('')
  })
  for (const { name, lost, examples } of stages) {
    if (lost > 0) lines.push(`not ${name}: ${examples.join(', ')}`)
  }
  if (foreign > 0) lines.push(`${foreign} messages are of nobody in the ledger`)
  if (unreadable > 0) lines.push(`${unreadable} lines could not be read`)
  lines.push(verdict(result))
  return lines
}

/** Whether the audit shows that nothing is lost. */
export function isGood({ acknowledged, stages, unreadable }: AuditResult): boolean {
  return (
    acknowledged > 0 &&
    stages.length > 0 &&
    unreadable === 0 &&
    stages.every(({ lost }) => lost === 0)
  )
}

function verdict(result: AuditResult): string {
  const { acknowledged, stages } = result
  if (acknowledged === 0) return 'nothing was acknowledged: the audit shows nothing'
  if (stages.length === 0) return 'neither a log nor an output was compared: name one'
  const lost = stages.reduce((sum, one) => sum + one.lost, 0)
  if (lost > 0) return `LOST: ${lost}`
  return isGood(result) ? 'lost: 0' : 'lost: 0, but not every line could be read'
}
