import { present } from '../../base/assert.ts'
import { SegmentReader } from './segment-reader.ts'
import type { SegmentFile } from './segments.ts'

/** Segments kept open: consumers read in a few places at a time, and each costs about 1 MiB. */
const OPEN_MAX = 4

/** The segment readers in use, the least recently used of which makes room. */
export class SegmentCache {
  private readonly readers = new Map<string, SegmentReader>()

  get(segment: SegmentFile): SegmentReader {
    const reader = this.readers.get(segment.file) ?? this.make(segment)
    // A Map keeps the order of insertion: the first is the one not used for longest.
    this.readers.delete(segment.file)
    this.readers.set(segment.file, reader)
    return reader
  }

  /** Closes what the keeper may want to seal. Called at the end of each request. */
  release(): void {
    for (const reader of this.readers.values()) reader.release()
  }

  /** Closes readers of deleted files, whose space is only freed then. */
  forget(gone: (file: string) => boolean): void {
    for (const file of this.readers.keys()) if (gone(file)) this.drop(file)
  }

  close(): void {
    for (const file of this.readers.keys()) this.drop(file)
  }

  private make(segment: SegmentFile): SegmentReader {
    if (this.readers.size >= OPEN_MAX) {
      const oldest = this.readers.keys().next().value
      this.drop(present(oldest, 'the least recently used segment'))
    }
    return new SegmentReader(segment)
  }

  private drop(file: string): void {
    this.readers.get(file)?.close()
    this.readers.delete(file)
  }
}
