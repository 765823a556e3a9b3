/**
 * A page of records on its way from the reader to whoever asked: packed entries in memory of their
 * own, so that it can be transferred between threads and be the caller's for good.
 */
import { crc32 } from 'node:zlib'
import type { Boots } from '../clock/time-of.ts'
import { type EntryParts, entryBytes, type Name, readEntries, writeEntry } from '../entry.ts'
import { asPosition, type RecordPage } from '../log.ts'
import { SegmentDamaged } from './segment-file.ts'

/** A record as a segment has it, not yet verified. */
export interface StoredRecord {
  readonly parts: EntryParts
  readonly checksum: number
  readonly file: string
}

export interface PackedPage {
  /** Entries one behind the other, from the start of their memory. */
  readonly entries: Uint8Array<ArrayBuffer>
  readonly next: number
  readonly end: number
}

/**
 * Packs and verifies. A page ends before a damaged record, so that what stands before it can be
 * read; a page that would begin with one throws `record-damaged`.
 */
export function packPage(records: readonly StoredRecord[], next: number, end: number): PackedPage {
  let sizeBytes = 0
  for (const { parts } of records) sizeBytes += entryBytes(parts)
  const entries = new Uint8Array(sizeBytes)
  const topics = new Refs()
  const clients = new Refs()
  let at = 0
  for (const { parts, checksum, file } of records) {
    const { topic, client } = parts
    const checked = writeEntry(entries, at, parts, topics.of(topic), clients.of(client))
    if (crc32(checked) !== checksum) {
      if (at > 0) return { entries: entries.slice(0, at), next: parts.position, end }
      throw new SegmentDamaged(
        file,
        `the record at position ${parts.position} in ${file} does not match its checksum`,
      )
    }
    at += entryBytes(parts)
  }
  return { entries, next, end }
}

/** Its records with the times that `boots` know. */
export function unpackPage(stream: string, page: PackedPage, boots: Boots): RecordPage {
  return {
    records: readEntries(stream, page.entries, boots),
    next: asPosition(page.next),
    end: asPosition(page.end),
  }
}

/** Numbers names within a page, by identity: equal names of two segments may get two. */
class Refs {
  private readonly refs = new Map<Name, number>()

  of(name: Name): number {
    const known = this.refs.get(name)
    if (known !== undefined) return known
    const ref = this.refs.size + 1
    this.refs.set(name, ref)
    return ref
  }
}
