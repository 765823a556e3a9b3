/**
 * How long the machine itself takes to append 300 bytes to a file and have them on the device: the
 * least a PUBACK after an fsync can take. 300 bytes are a record with a payload of 256.
 */
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import { quantile } from './table.ts'

const RECORD_BYTES = 300

export interface FsyncTimes {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Appends and syncs `count` times, one after the other, to a file in `folder`. */
export function probeFsync(folder: string, count: number): FsyncTimes {
  const file = path.join(folder, 'fsync-probe')
  const fd = openSync(file, 'w')
  try {
    const record = new Uint8Array(RECORD_BYTES).fill(0x61)
    const timesMs = Array.from({ length: count }, () => {
      const began = performance.now()
      writeSync(fd, record)
      fdatasyncSync(fd)
      return performance.now() - began
    })
    return { p50Ms: quantile(timesMs, 0.5), p99Ms: quantile(timesMs, 0.99) }
  } finally {
    closeSync(fd)
    rmSync(file)
  }
}
