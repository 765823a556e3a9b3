/** What retention knows of the files, and the two things it may ask of whoever owns them. */
import type { Offset, Partition, Position } from '../log.ts'

/** The offsets of one partition in a segment: half-open, [first, end). */
export interface SegmentPartition {
  readonly partition: Partition
  readonly first: Offset
  readonly end: Offset
}

/** A segment that nothing is appended to any more. */
export interface FinishedSegment {
  /** Its name in the stream's folder. */
  readonly file: string
  /** Half-open: [first, end). */
  readonly first: Position
  readonly end: Position
  /** Of its files on disk. */
  readonly sizeBytes: number
  /** Of its last record: the wall time it was written with, and where that lies in its boot. */
  readonly lastTimeMs: number
  readonly lastBoot: number
  readonly lastMonotonicUs: number
  readonly partitions: readonly SegmentPartition[]
}

export interface SurveyedStream {
  readonly stream: string
  /** Records before it are on disk. */
  readonly end: Position
  /** Of all its segments, the active one included. */
  readonly sizeBytes: number
  /** The finished ones, oldest first and without a hole between them. */
  readonly segments: readonly FinishedSegment[]
}

export interface Segments {
  survey(): Promise<readonly SurveyedStream[]>
  /**
   * Deletes the oldest segment of a stream; when it resolves, no power cut brings it back.
   * Resolves with why it could not, otherwise with undefined.
   */
  remove(stream: string, file: string): Promise<string | undefined>
}
