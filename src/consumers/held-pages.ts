import type { LogRecord } from '../log/log.ts'

/** The memory that records hold: a record that stays keeps the whole page that it was read with. */
export class HeldPages {
  sizeBytes = 0
  private readonly held = new Map<ArrayBufferLike, number>()

  hold({ bytes }: LogRecord): void {
    const { buffer } = bytes
    const count = this.held.get(buffer) ?? 0
    if (count === 0) this.sizeBytes += buffer.byteLength
    this.held.set(buffer, count + 1)
  }

  release({ bytes }: LogRecord): void {
    const { buffer } = bytes
    const count = this.held.get(buffer) ?? 0
    if (count > 1) {
      this.held.set(buffer, count - 1)
    } else if (this.held.delete(buffer)) {
      this.sizeBytes -= buffer.byteLength
    }
  }

  clear(): void {
    this.held.clear()
    this.sizeBytes = 0
  }
}
