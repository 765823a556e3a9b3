/** Setup for tests of repairs: a stopped log of several small segments, and ways to damage it. */
import fs from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import type { EventLog } from '../../../src/log/log.ts'
import { append, emptyFolder, open, readAll, stream } from '../given.ts'

export const TINY = { segmentBytes: 16 * 1024, tailBytes: 1024, slabBytes: 1024 }
export const STREAMS = [stream('a', { partitions: 2 })]

/** A log of several segments that was stopped cleanly. */
export async function given(records = 400): Promise<{ dataDir: string; lines: string[] }> {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, STREAMS, TINY)
  const texts = Array.from({ length: records }, (_, i) => `a/x ${i} ${'.'.repeat(100)}`)
  for (let at = 0; at < records; at += 20) {
    const burst = texts.slice(at, at + 20).map((text) => append(log, 'a/x', text))
    for (const { settled } of burst) expect(await settled).toBe('kept')
  }
  const lines = await readAll(log, 'a')
  await log.close()
  return { dataDir, lines }
}

export function folderOf(dataDir: string): string {
  return path.join(dataDir, 'streams/a')
}

/** Changes a payload, also where an unused part of a page still has it. */
export function spoil(file: string, payload: string): void {
  const bytes = fs.readFileSync(file)
  let at = bytes.indexOf(payload)
  expect(at).toBeGreaterThan(0)
  for (; at >= 0; at = bytes.indexOf(payload, at + 1)) bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.writeFileSync(file, bytes)
}

export function gapsOf(log: EventLog): (string | number)[][] {
  return log.state.gaps.list().map((gap) => [gap.first, gap.end, gap.records, gap.reason])
}
