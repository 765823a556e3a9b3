/**
 * The WAL of a segment, read without SQLite, to know what SQLite would drop without a word.
 *
 *   header   u32 magic · version · page size · sequence · salt 1 · salt 2 · checksum 1 · checksum 2
 *   frame    u32 page · pages after commit, or 0 · salt 1 · salt 2 · checksum 1 · checksum 2 · page
 *
 * A frame's checksum runs on from the frame before, so SQLite takes frames up to the first that
 * does not fit and calls the rest the torn end of a crash. Mostly it is: the transaction that was
 * being written when the power went. It is proven damage, of commits that were acknowledged, when
 *   - the header does not fit its own checksum though frames follow (32 bytes of one sector, synced
 *     before the first frame: no crash tears them);
 *   - behind the frame that does not fit, frames of a *later* transaction stand: with a sync for
 *     each commit those are written only after the one before was synced whole.
 * What looks the same and is no damage: the rest of a transaction that a kill cut off and that a
 * later run, or a resumed one, has overwritten in part. Its records are older than the last one
 * before it (by boot, then monotonic time), which is for whoever reads the records to tell.
 */
import fs from 'node:fs'
import { PAGE_BYTES } from './cells.ts'

export const WAL_HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
export const WAL_FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES
const MAGIC_LITTLE = 0x377f0682
const MAGIC_BIG = 0x377f0683

export interface WalFrame {
  readonly page: number
  /** Where the page stands in the file. */
  readonly at: number
}

export interface Wal {
  /** Frames up to the last commit that SQLite takes. */
  readonly committed: readonly WalFrame[]
  /** All behind them that may hold records, in file order. */
  readonly beyond: readonly WalFrame[]
  /** Commits behind the frame that does not fit prove that one before them is lost. */
  readonly isSuspect: boolean
  /** Whole frames in the file, of whatever age. */
  readonly frames: number
}

const NO_WAL: Wal = { committed: [], beyond: [], isSuspect: false, frames: 0 }

/** Reads the WAL at `file`; one that is not there is an empty one. */
export function readWal(file: string): Wal {
  if (!fs.existsSync(file)) return NO_WAL
  const descriptor = fs.openSync(file, 'r')
  try {
    const sizeBytes = fs.fstatSync(descriptor).size
    const frames = Math.max(0, Math.floor((sizeBytes - WAL_HEADER_BYTES) / WAL_FRAME_BYTES))
    return frames === 0 ? NO_WAL : walk(descriptor, frames)
  } finally {
    fs.closeSync(descriptor)
  }
}

function walk(descriptor: number, frames: number): Wal {
  const header = Buffer.alloc(WAL_HEADER_BYTES)
  fs.readSync(descriptor, header, 0, header.length, 0)
  const magic = header.readUInt32BE(0)
  const little = magic === MAGIC_LITTLE
  const sum: Sum = [0, 0]
  add(sum, header.subarray(0, 24), little)
  const isSound =
    (little || magic === MAGIC_BIG) &&
    header.readUInt32BE(8) === PAGE_BYTES &&
    fits(sum, header, 24)
  const found: (WalFrame & { readonly commits: boolean })[] = []
  const frame = Buffer.alloc(WAL_FRAME_BYTES)
  let chained = isSound
  let committed = 0
  let lastChained = 0
  let beyondCommits = 0
  let framesBehindCommit = 0
  for (let i = 0; i < frames; i++) {
    const at = WAL_HEADER_BYTES + i * WAL_FRAME_BYTES
    fs.readSync(descriptor, frame, 0, frame.length, at)
    const sameSalt = frame.compare(header, 16, 24, 8, 16) === 0
    if (chained) {
      add(sum, frame.subarray(0, 8), little)
      add(sum, frame.subarray(FRAME_HEADER_BYTES), little)
      chained = sameSalt && fits(sum, frame, 16)
    }
    const commits = frame.readUInt32BE(4) !== 0
    if (chained) {
      lastChained = i + 1
      if (commits) committed = i + 1
    } else if (sameSalt) {
      // Frames behind a commit that stands behind the break belong to a later transaction.
      if (beyondCommits > 0) framesBehindCommit++
      if (commits) beyondCommits++
    }
    found.push({ page: frame.readUInt32BE(0), at: at + FRAME_HEADER_BYTES, commits })
  }
  return {
    committed: found.slice(0, committed),
    beyond: found.slice(committed),
    isSuspect: !isSound || (lastChained < frames && framesBehindCommit > 0),
    frames,
  }
}

type Sum = [number, number]

/** SQLite's running checksum: two 32-bit sums over pairs of words, in the order of the magic. */
function add(sum: Sum, bytes: Buffer, little: boolean): void {
  let [a, b] = sum
  for (let at = 0; at < bytes.length; at += 8) {
    const first = little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at)
    const second = little ? bytes.readUInt32LE(at + 4) : bytes.readUInt32BE(at + 4)
    a = (a + first + b) >>> 0
    b = (b + second + a) >>> 0
  }
  sum[0] = a
  sum[1] = b
}

function fits(sum: Sum, bytes: Buffer, at: number): boolean {
  return bytes.readUInt32BE(at) === sum[0] && bytes.readUInt32BE(at + 4) === sum[1]
}
