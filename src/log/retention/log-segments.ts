/** The segments of the running log, by way of its keeper thread. */
import { readdir } from 'node:fs/promises'
import { codeOf } from '../../base/errors.ts'
import type { FolderSurvey } from '../keeper/survey.ts'
import type { Position } from '../log.ts'
import { firstPositionOf, streamFolder } from '../segment.ts'
import type { Segments, SurveyedStream } from './segments.ts'

/** What is asked of the keeper; streams by their index. */
export interface KeeperPort {
  survey(): Promise<readonly FolderSurvey[]>
  remove(stream: number, file: string): Promise<string | undefined>
}

export interface LogSegmentsParts {
  readonly dataDir: string
  /** In the log's order. */
  readonly streams: readonly string[]
  readonly keeper: KeeperPort
  /** Where the records of a stream end on disk. */
  onDiskEnd(stream: number): Position
  /** The files are going: readers must let go of them, or their space is not freed. */
  removed(stream: string): void
}

export class LogSegments implements Segments {
  private readonly parts: LogSegmentsParts

  constructor(parts: LogSegmentsParts) {
    this.parts = parts
  }

  /** Leaves the keeper alone, and so unstarted, while no stream has a finished segment. */
  async survey(): Promise<readonly SurveyedStream[]> {
    const { streams, keeper } = this.parts
    // Before the files are listed: an end that is too early keeps a segment, one too late loses it.
    const ends = streams.map((_, index) => this.parts.onDiskEnd(index))
    const found = (await this.hasFinished()) ? await keeper.survey() : []
    return streams.map((stream, index) => ({
      stream,
      end: ends[index] as Position,
      sizeBytes: found[index]?.sizeBytes ?? 0,
      segments: found[index]?.segments ?? [],
    }))
  }

  async remove(stream: string, file: string): Promise<string | undefined> {
    const { streams, keeper } = this.parts
    const failure = await keeper.remove(streams.indexOf(stream), file)
    if (failure === undefined) this.parts.removed(stream)
    return failure
  }

  private async hasFinished(): Promise<boolean> {
    for (const stream of this.parts.streams) {
      const names = await namesIn(streamFolder(this.parts.dataDir, stream))
      if (names.filter((name) => firstPositionOf(name) !== undefined).length > 1) return true
    }
    return false
  }
}

/** A folder that cannot be listed has nothing to delete, and stands in the way of no other one. */
async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    return []
  }
}
