/** What the figures were measured on. */
import { readFileSync } from 'node:fs'
import os from 'node:os'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryMiB: number
  readonly kernel: string
  readonly node: string
  /** Of the temporary folder, where the gateway keeps its data: type and device. */
  readonly fileSystem: string
}

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() || 'unknown',
    cores: os.availableParallelism(),
    memoryMiB: Math.round(os.totalmem() / 1024 / 1024),
    kernel: `${os.type()} ${os.release()} ${os.machine()}`,
    node: process.version,
    fileSystem: fileSystemOf(os.tmpdir(), readFileSync('/proc/mounts', 'utf8')),
  }
}

/** Type and device of the file system `folder` lies on, by the mount point nearest above it. */
export function fileSystemOf(folder: string, mounts: string): string {
  let nearest = ''
  let found = 'unknown'
  for (const line of mounts.split('\n')) {
    const [device, point, type] = line.split(' ')
    if (device === undefined || point === undefined || type === undefined) continue
    const above = point === '/' || folder === point || folder.startsWith(`${point}/`)
    if (!above || point.length < nearest.length) continue
    nearest = point
    found = `${type} on ${device}`
  }
  return found
}

/** True where an fsync reaches no device, so that the figures say nothing about durability. */
export function isMemory(machine: Machine): boolean {
  return /^(tmpfs|ramfs) /.test(machine.fileSystem)
}
