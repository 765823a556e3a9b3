/**
 * What all consumers hear of the log: newly kept records, where each stream ends, gaps, and cursors
 * that somebody moved by hand. One follower of the log for all of them, and one listener of each
 * kind, because the log has no way to take a listener back and consumers come and go.
 */
import type { Cursor, EventLog, Gap, LogRecord } from '../log/log.ts'

/** Told of the newly kept records of one stream, in position order. */
export type Moved = (records: readonly LogRecord[]) => void

interface StreamEnds {
  /** Behind the last kept record; 0 until one was seen. */
  end: number
  /** The same by partition. */
  readonly offsets: number[]
  readonly listeners: Set<Moved>
}

export class StreamWatch {
  private readonly streams = new Map<string, StreamEnds>()
  private readonly gapListeners = new Set<(gap: Gap) => void>()
  private readonly seekListeners = new Map<string, (cursor: Cursor) => void>()
  private readonly stopFollowing: () => void

  constructor(log: EventLog) {
    for (const { name } of log.streams) {
      this.streams.set(name, { end: 0, offsets: [], listeners: new Set() })
    }
    this.stopFollowing = log.follow((records) => this.kept(records))
    log.state.gaps.onAdded((gap) => {
      for (const listener of this.gapListeners) listener(gap)
    })
    log.state.cursors.onMoved((cursor, why) => {
      if (why === 'seek') this.seekListeners.get(cursor.name)?.(cursor)
    })
  }

  /** Behind the last kept record that was seen here; 0 before the first. */
  end(stream: string): number {
    return this.streams.get(stream)?.end ?? 0
  }

  /** Behind the last kept record of a partition that was seen here; undefined before the first. */
  offsetEnd(stream: string, partition: number): number | undefined {
    return this.streams.get(stream)?.offsets[partition]
  }

  /** From now on told of the stream's records; returns its own removal. */
  watch(stream: string, listener: Moved): () => void {
    const listeners = this.streams.get(stream)?.listeners
    listeners?.add(listener)
    return () => {
      listeners?.delete(listener)
    }
  }

  /** From now on told of gaps as they are added; returns its own removal. */
  onGap(listener: (gap: Gap) => void): () => void {
    this.gapListeners.add(listener)
    return () => {
      this.gapListeners.delete(listener)
    }
  }

  /** From now on told when somebody moves this cursor by hand; returns its own removal. */
  onSeek(cursor: string, listener: (cursor: Cursor) => void): () => void {
    this.seekListeners.set(cursor, listener)
    return () => {
      if (this.seekListeners.get(cursor) === listener) this.seekListeners.delete(cursor)
    }
  }

  close(): void {
    this.stopFollowing()
  }

  private kept(records: readonly LogRecord[]): void {
    const last = records.at(-1)
    const ends = last === undefined ? undefined : this.streams.get(last.stream)
    if (last === undefined || ends === undefined) return
    ends.end = last.position + 1
    for (const { partition, offset } of records) ends.offsets[partition] = offset + 1
    for (const listener of ends.listeners) listener(records)
  }
}
