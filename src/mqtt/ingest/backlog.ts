/**
 * What all publishers together have waiting for the disk. Past the limit no publisher is read until
 * half of it is written: TCP then holds them back, and no message is refused or lost.
 */
import type { Publisher } from './publisher.ts'

export class Backlog {
  private readonly bytesMax: number
  private readonly held = new Set<Publisher>()
  private bytes = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get isFull(): boolean {
    return this.bytes >= this.bytesMax
  }

  add(bytes: number): void {
    this.bytes += bytes
  }

  remove(bytes: number): void {
    this.bytes -= bytes
    if (this.held.size > 0 && this.bytes * 2 <= this.bytesMax) this.release()
  }

  /** `publisher` is told by `resume` once there is room again. */
  hold(publisher: Publisher): void {
    this.held.add(publisher)
  }

  forget(publisher: Publisher): void {
    this.held.delete(publisher)
  }

  private release(): void {
    const waiting = [...this.held]
    this.held.clear()
    for (const publisher of waiting) publisher.resume()
  }
}
