/** Files on their way into a backup and out of it: streamed, hashed on the way, and synced. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { codeOf } from '../../base/errors.ts'

/** One read and one write at a time; more memory makes it no faster, and a gateway is small. */
const CHUNK_BYTES = 256 * 1024

export interface Content {
  readonly sizeBytes: number
  readonly sha256: string
}

/** What is in a file; makes sure that it is on disk as well. */
export async function contentOf(file: string): Promise<Content> {
  const source = await open(file, 'r')
  try {
    const content = await pump(source, undefined)
    await source.sync()
    return content
  } finally {
    await source.close()
  }
}

/** Copies a file to a new one, synced; what was copied is what is told. */
export async function copyFile(from: string, to: string): Promise<Content> {
  const source = await open(from, 'r')
  try {
    const target = await open(to, 'wx', 0o600)
    try {
      const content = await pump(source, target)
      await target.sync()
      return content
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

/**
 * Gives a file a second name; false where that cannot be: another file system, or one that knows no
 * hard links. Throws what else goes wrong, such as a file that is gone.
 */
export function tryLink(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to)
    return true
  } catch (thrown) {
    const code = codeOf(thrown)
    if (code !== undefined && CANNOT_LINK.has(code)) return false
    throw thrown
  }
}

const CANNOT_LINK = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'])

async function pump(source: FileHandle, target: FileHandle | undefined): Promise<Content> {
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  let sizeBytes = 0
  for (;;) {
    const { bytesRead } = await source.read(chunk, 0, chunk.length)
    if (bytesRead === 0) return { sizeBytes, sha256: hash.digest('hex') }
    hash.update(chunk.subarray(0, bytesRead))
    if (target !== undefined) await writeAll(target, chunk.subarray(0, bytesRead))
    sizeBytes += bytesRead
  }
}

async function writeAll(target: FileHandle, bytes: Uint8Array): Promise<void> {
  let at = 0
  while (at < bytes.length) at += (await target.write(bytes, at)).bytesWritten
}
