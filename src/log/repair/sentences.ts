/** What repairs say to people. */
import type { RepairNote } from './notes.ts'
import type { StartFindings } from './start.ts'

/** One repair, with what it cost. */
export function repairSentence(note: RepairNote): string {
  const { stream, file, quarantined, why, salvagedRecords } = note
  return (
    `segment ${file} of "${stream}" was damaged (${why}): ${salvagedRecords} records salvaged, ` +
    `${lostText(note)}; the damaged file is quarantine/${stream}/${quarantined}`
  )
}

function lostText({ holes, endInDoubt }: RepairNote): string {
  if (holes.length === 0) return 'none lost'
  const ranges = holes.map(({ first, end }) => `[${first}, ${end})`)
  const shown = ranges.length > 5 ? [...ranges.slice(0, 5), '…'] : ranges
  const doubt = endInDoubt ? ' (the last is the most that can be lost)' : ''
  return `positions lost: ${shown.join(' ')}${doubt}`
}

/** The line of a start: what was found, and what was done about it. */
export function startSentence(found: StartFindings, boot: number, epoch: number): string {
  const parts = [`boot ${boot}, epoch ${epoch}`, `${found.segments} segments`]
  if (found.wasUnclean) parts.push(`unclean stop, ${found.walFrames} WAL frames recovered`)
  if (found.unsealed > 0) parts.push(`${found.unsealed} seals to finish`)
  if (found.unfinished > 0) parts.push(`${found.unfinished} unfinished segments dropped`)
  if (found.repaired.length > 0) {
    const salvaged = found.repaired.reduce((sum, note) => sum + note.salvagedRecords, 0)
    const lost = found.repaired.flatMap(({ holes }) => holes)
    const positions = lost.reduce((sum, { first, end }) => sum + end - first, 0)
    parts.push(
      `${found.repaired.length} damaged segments set aside, ${salvaged} records salvaged, ` +
        `up to ${positions} lost`,
    )
  }
  if (found.stateLost !== undefined) {
    parts.push(
      found.stateLost === 'missing'
        ? 'state.db was missing and is made anew: consumers begin at the earliest record'
        : `state.db was damaged and is in quarantine/${found.stateLost}: ` +
            'consumers begin at the earliest record',
    )
  }
  if (found.odd.length > 0) {
    parts.push(`entries that are no files were moved out of the way: ${found.odd.join(', ')}`)
  }
  if (found.failed.size > 0) {
    parts.push(`streams that could not be looked at: ${[...found.failed.keys()].join(', ')}`)
  }
  if (!hasRepairs(found)) parts.push('nothing to repair')
  return parts.join('; ')
}

/** Whether anything was damaged. */
export function hasRepairs({ repaired, stateLost, odd, failed }: StartFindings): boolean {
  return repaired.length + odd.length + failed.size > 0 || stateLost !== undefined
}
