/** What a whole disk was given to write, by every process and the kernel itself. */
import { readFile, stat } from 'node:fs/promises'

/** A sector of these counters, whatever the disk's own. */
const SECTOR_BYTES = 512

/** Since the machine started, of the disk `folder` lies on; undefined where it lies on none. */
export async function diskBytes(folder: string): Promise<number | undefined> {
  const { dev } = await stat(folder)
  const text = await readFile(`/sys/dev/block/${deviceNumber(dev)}/stat`, 'utf8').catch(
    // A file system in memory or made of others has a number that no disk has.
    () => undefined,
  )
  return text === undefined ? undefined : writtenSectors(text) * SECTOR_BYTES
}

/** As Linux splits it: 12 bits of major number, 20 of minor, the low 8 of these at the end. */
export function deviceNumber(dev: number): string {
  const major = (dev >>> 8) & 0xfff
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00)
  return `${major}:${minor}`
}

/** The seventh column of a disk's `stat`. */
export function writtenSectors(text: string): number {
  return Number(text.trim().split(/\s+/)[6])
}
