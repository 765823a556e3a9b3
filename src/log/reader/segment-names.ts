import type { Name } from '../entry.ts'
import { FilterSet } from '../filter-set.ts'
import type { SegmentConnection } from './segment-file.ts'

/** Names kept per segment and table; a hostile fleet can use a new one for each record. */
const NAME_BYTES_MAX = 1024 * 1024
/** What a kept name costs beside its bytes. */
const NAME_OVERHEAD_BYTES = 100

/** The names of one table of a segment by id. An id never changes its name, so they can be kept. */
export class SegmentNames {
  private readonly sql: string
  private readonly known = new Map<number, Name>()
  private sizeBytes = 0

  constructor(table: 'topic' | 'client') {
    // As bytes, because these very bytes are what the checksum covers.
    this.sql = `SELECT CAST(name AS BLOB) FROM ${table} WHERE id = ?`
  }

  /** Undefined when the table has no such id. */
  get(connection: SegmentConnection, id: number): Name | undefined {
    const found = this.known.get(id)
    if (found !== undefined) return found
    const row = connection.rows(this.sql).get(id) as [Buffer] | undefined
    if (row === undefined) return undefined
    const name: Name = { text: row[0].toString('utf8'), bytes: row[0] }
    if (this.sizeBytes > NAME_BYTES_MAX) {
      this.known.clear()
      this.sizeBytes = 0
    }
    this.known.set(id, name)
    this.sizeBytes += 2 * row[0].length + NAME_OVERHEAD_BYTES
    return name
  }
}

/** Which topics in a range of positions one of some filters matches, as a JSON list of ids. */
export interface FilterWindow {
  readonly from: number
  readonly end: number
  readonly ids: string
}

const WINDOWS_MAX = 32
/** A session may have 1,000 filters of 4 KiB. */
const WINDOW_FILTER_CHARS_MAX = 64 * 1024

/**
 * Lists of filters resolved to topic ids, for the topics that occur in a window of positions only:
 * so a segment with a million topics costs no more memory than the window's records. A page that
 * goes on inside the window of the page before uses its list again.
 */
export class FilterWindows {
  private readonly windows = new Map<string, FilterWindow>()
  private filterChars = 0

  /** The window that holds `from`: an earlier one, or a new one over [from, end). */
  at(
    connection: SegmentConnection,
    filters: readonly string[],
    from: number,
    end: number,
  ): FilterWindow {
    // No filter contains the null character.
    const key = filters.join('\0')
    const known = this.windows.get(key)
    if (known !== undefined && known.from <= from && from < known.end) return known
    const wanted = new FilterSet(filters)
    const ids: number[] = []
    const topics = connection
      .rows(
        `SELECT id, name FROM topic WHERE id IN
           (SELECT topic FROM record WHERE position >= ? AND position < ?)`,
      )
      .iterate(from, end) as IterableIterator<[number, string]>
    for (const [id, name] of topics) if (wanted.matches(name)) ids.push(id)
    const window: FilterWindow = { from, end, ids: JSON.stringify(ids) }
    this.filterChars += key.length
    if (this.windows.size >= WINDOWS_MAX || this.filterChars > WINDOW_FILTER_CHARS_MAX) {
      this.windows.clear()
      this.filterChars = key.length
    }
    this.windows.set(key, window)
    return window
  }
}
