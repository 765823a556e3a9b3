/**
 * The log of a data directory, read-only: beside a running gateway, or in a copy. It takes the
 * streams from the folders and needs no configuration. Nothing stays open between calls that could
 * keep the gateway from sealing or from freeing space.
 */
import fs from 'node:fs'
import { SluiceError } from '../../base/errors.ts'
import { BootFile } from '../clock/boot-file.ts'
import { asWritten, type Boots } from '../clock/time-of.ts'
import type { Position, ReadQuery, RecordPage, Start, StreamBounds } from '../log.ts'
import { streamFolder } from '../segment.ts'
import { type PackedPage, unpackPage } from './page.ts'
import { SegmentCache } from './segment-cache.ts'
import { listStreams } from './segments.ts'
import { StreamReader } from './stream-reader.ts'

/**
 * All calls are synchronous and throw SluiceError: `stream-unknown`, `start-invalid` (locate),
 * `record-damaged`, `format-unknown`, `storage`.
 */
export interface LogReader {
  /** Why records show the time that they were written with; undefined while all is well. */
  readonly timesTrouble: string | undefined
  /** The names of the streams, sorted. */
  streams(): string[]
  /** A page; without `end` up to the last record on disk. */
  read(query: ReadQuery, end?: Position): RecordPage
  locate(stream: string, start: Start): Position
  bounds(stream: string): StreamBounds
  close(): void
}

/** Throws `data-dir-unusable` when `dataDir` is no data directory. */
export function openLogReader(dataDir: string): LogReader {
  const file = new BootFile(dataDir)
  return new FileLogReader(
    dataDir,
    () => file.boots(),
    () => file.trouble,
  )
}

/** As LogReader, and with pages as the reader thread hands them on. */
export class FileLogReader implements LogReader {
  private readonly dataDir: string
  private readonly cache = new SegmentCache()
  private readonly boots: () => Boots
  private readonly trouble: () => string | undefined

  constructor(
    dataDir: string,
    boots: () => Boots = asWritten,
    trouble: () => string | undefined = () => undefined,
  ) {
    this.dataDir = dataDir
    this.boots = boots
    this.trouble = trouble
    listStreams(dataDir)
  }

  get timesTrouble(): string | undefined {
    return this.trouble()
  }

  streams(): string[] {
    return listStreams(this.dataDir)
  }

  read(query: ReadQuery, end?: Position): RecordPage {
    return unpackPage(query.stream, this.readPacked(query, end), this.boots())
  }

  readPacked(query: ReadQuery, end: Position | undefined): PackedPage {
    return this.ask(query.stream, (reader) => reader.read(query, end))
  }

  locate(stream: string, start: Start): Position {
    return this.ask(stream, (reader) => reader.locate(start, this.boots()))
  }

  bounds(stream: string): StreamBounds {
    return this.ask(stream, (reader) => reader.bounds(this.boots()))
  }

  /** Closes segments that are deleted: their space is freed only then. */
  forgetRemoved(): void {
    this.cache.forget((file) => !fs.existsSync(file))
  }

  close(): void {
    this.cache.close()
  }

  private ask<T>(stream: string, question: (reader: StreamReader) => T): T {
    const streams = this.streams()
    if (!streams.includes(stream)) {
      const known = streams.length === 0 ? 'it has none' : `it has ${streams.join(', ')}`
      throw new SluiceError('stream-unknown', `${this.dataDir} has no stream "${stream}"; ${known}`)
    }
    try {
      return question(new StreamReader(stream, streamFolder(this.dataDir, stream), this.cache))
    } finally {
      this.cache.release()
    }
  }
}
