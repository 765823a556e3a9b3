import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import { makeStreamFolders, nextBoot, takeDataDir } from './data-dir.ts'
import type { EventLog, StreamSettings } from './log.ts'
import { SqliteLog } from './sqlite-log.ts'
import { WriterThread } from './threads.ts'

/** Segments of 64 MiB scan in well under a second and copy off in one piece. */
export const SEGMENT_BYTES = 64 * 1024 * 1024
/** Recent records in memory: what live subscribers and short reconnects read. */
export const TAIL_BYTES = 16 * 1024 * 1024
/** A WAL of this size is moved into its database. */
export const WAL_BYTES_MAX = 8 * 1024 * 1024
/** Big enough that a switch is rare, small enough that an idle gateway does not notice one. */
export const SLAB_BYTES = 256 * 1024

export interface OpenLogOptions {
  readonly dataDir: string
  readonly streams: readonly StreamSettings[]
  readonly clock: Clock
  readonly segmentBytes?: number
  readonly tailBytes?: number
  readonly walBytesMax?: number
  readonly slabBytes?: number
  /** Told about troubles beside the commits, which lose nothing. */
  readonly logger?: Logger
}

/**
 * Opens the log in a data directory, which is made if it is missing and taken for this process.
 * Rejects with SluiceError `data-dir-locked`, `data-dir-unusable`, `format-unknown` or `storage`.
 */
export async function openLog(options: OpenLogOptions): Promise<EventLog> {
  const { dataDir, streams, clock } = options
  const lock = takeDataDir(dataDir)
  try {
    makeStreamFolders(
      dataDir,
      streams.map((stream) => stream.name),
    )
    const boot = nextBoot(dataDir, clock.now())
    const writer = new WriterThread(
      {
        dataDir,
        streams: streams.map(({ name, partitions, ackAfter, lingerMs }) => ({
          name,
          partitions,
          ackAfter,
          lingerMs,
        })),
        segmentBytes: options.segmentBytes ?? SEGMENT_BYTES,
        walBytesMax: options.walBytesMax ?? WAL_BYTES_MAX,
      },
      options.logger,
    )
    const found = await writer.open()
    return new SqliteLog({
      dataDir,
      streams,
      found,
      boot,
      clock,
      writer,
      lock,
      slabBytes: options.slabBytes ?? SLAB_BYTES,
      tailBytes: options.tailBytes ?? TAIL_BYTES,
    })
  } catch (cause) {
    lock.release()
    throw cause
  }
}
