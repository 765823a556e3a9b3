/**
 * The cursors in memory, and their way to disk.
 *
 * A cursor that moved is dirty until a write that began after the move has succeeded; whatever
 * fails stays dirty and is tried again with the next lazy write, so that memory is never behind the
 * disk and the disk is behind memory by one interval at most (S1).
 */
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { SluiceError } from '../../base/errors.ts'
import type { Start, StreamBounds } from '../log.ts'
import type { Cursor, CursorLag, CursorPlace, Cursors, NewGap } from '../state.ts'
import { advanced, behind, byPartition, cursorOf, lagRecords, rowOf } from './cursor-place.ts'
import { type LogSource, lagOf, placeAt } from './placing.ts'
import type { CursorRow, StateOp } from './protocol.ts'
import type { Writes } from './writes.ts'

type Why = 'commit' | 'seek' | 'gap'

export interface CursorSetParts {
  readonly rows: readonly CursorRow[]
  readonly writes: Writes
  readonly source: () => LogSource
  readonly clock: Clock
  /** How long a lazy commit may wait for its write. */
  readonly flushMs: number
}

export class CursorSet implements Cursors {
  private readonly parts: CursorSetParts
  private readonly byName = new Map<string, Cursor>()
  /** Being made; asked for again meanwhile, the same one is given. */
  private readonly opening = new Map<string, Promise<Cursor>>()
  /** Names whose row is not as memory has it; without a cursor of that name the row must go. */
  private readonly dirty = new Set<string>()
  private listeners: readonly ((cursor: Cursor, why: Why) => void)[] = []
  /** Writes have their fates in order: the last one's is the end of all before it. */
  private lastWrite: Promise<unknown> = Promise.resolve()
  private timer: NodeJS.Timeout | undefined
  private closed = false

  constructor(parts: CursorSetParts) {
    this.parts = parts
    for (const row of parts.rows) this.byName.set(row.name, cursorOf(row))
  }

  list(): readonly Cursor[] {
    return [...this.byName.values()]
  }

  get(name: string): Cursor | undefined {
    return this.byName.get(name)
  }

  open(name: string, stream: string, kind: CursorPlace['kind'], from: Start): Promise<Cursor> {
    const opening = this.opening.get(name)
    if (opening !== undefined) return opening
    const known = this.byName.get(name)
    if (known !== undefined) return Promise.resolve(known)
    const made = this.make(name, stream, kind, from)
    this.opening.set(name, made)
    return made
  }

  commit(name: string, place: CursorPlace): void {
    this.advance(name, place, 'commit')
  }

  async commitNow(name: string, place: CursorPlace): Promise<void> {
    this.advance(name, place, 'commit')
    await this.writeNow(name)
  }

  async seek(name: string, to: Start): Promise<Cursor> {
    const { stream, place } = this.known(name)
    const found = await this.placeOf(stream, place, to)
    const moved = this.put({ ...this.known(name), place: found })
    this.tell(moved, 'seek')
    await this.writeNow(name)
    return moved
  }

  async remove(name: string): Promise<void> {
    this.known(name)
    this.byName.delete(name)
    this.markDirty(name)
    await this.writeNow(name)
  }

  async lag(name: string): Promise<CursorLag> {
    const { stream, place } = this.known(name)
    return lagOf(this.parts.source(), stream, place, this.parts.clock)
  }

  lagRecords(name: string, bounds: StreamBounds): number {
    return lagRecords(this.known(name).place, bounds)
  }

  onMoved(listener: (cursor: Cursor, why: Why) => void): void {
    this.listeners = [...this.listeners, listener]
  }

  /**
   * The cursor of a gap as it will stand behind it, from where an earlier gap of the same write put
   * it; undefined when the gap does not move it.
   */
  behindGap(gap: NewGap, moved: Cursor | undefined): Cursor | undefined {
    const { cursor: name, stream, first, end } = gap
    const cursor = moved ?? (name === undefined ? undefined : this.byName.get(name))
    if (cursor === undefined || cursor.stream !== stream) return undefined
    const place = behind(cursor.place, first, end)
    return place === undefined ? undefined : { ...cursor, place, updatedMs: this.nowMs() }
  }

  /** Puts cursors where they are said to be, also back; on disk when it resolves. */
  async takeBack(cursors: readonly Cursor[]): Promise<void> {
    for (const cursor of cursors) this.put(cursor)
    await this.flush()
  }

  /** A gap was written, and its cursor's row with it. */
  movedByGap({ name, place }: Cursor): void {
    if (this.byName.has(name)) this.advance(name, place, 'gap')
  }

  /**
   * Resolves when all that moved before is on disk; rejects with `storage`, and what was not
   * written stays dirty.
   */
  async flush(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    await this.lastWrite
    const names = [...this.dirty]
    this.dirty.clear()
    await this.writeNames(names)
  }

  /** No lazy write begins after this. */
  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  private async make(
    name: string,
    stream: string,
    kind: CursorPlace['kind'],
    from: Start,
  ): Promise<Cursor> {
    try {
      const place = await placeAt(this.parts.source(), stream, kind, from)
      const cursor = this.put({ name, stream, place, updatedMs: 0 })
      await this.writeNow(name)
      return cursor
    } catch (thrown) {
      // What failed is dirty: its row goes again, should the write have arrived after all.
      this.byName.delete(name)
      throw thrown
    } finally {
      this.opening.delete(name)
    }
  }

  /** An offset moves its own partition of a cursor by partition, and no other. */
  private async placeOf(stream: string, place: CursorPlace, to: Start): Promise<CursorPlace> {
    const source = this.parts.source()
    if (to.kind !== 'offset' || place.kind !== 'partitions') {
      return placeAt(source, stream, place.kind, to)
    }
    await source.locate(stream, to)
    return byPartition([...place.next, [to.partition, to.offset]])
  }

  private advance(name: string, to: CursorPlace, why: Why): void {
    const cursor = this.known(name)
    const place = advanced(cursor.place, to)
    if (place !== undefined) this.tell(this.put({ ...cursor, place }), why)
  }

  private put(cursor: Cursor): Cursor {
    const moved = { ...cursor, updatedMs: this.nowMs() }
    this.byName.set(cursor.name, moved)
    this.markDirty(cursor.name)
    return moved
  }

  private tell(cursor: Cursor, why: Why): void {
    for (const listener of this.listeners) listener(cursor, why)
  }

  private async writeNow(name: string): Promise<void> {
    this.dirty.delete(name)
    await this.writeNames([name])
  }

  private writeNames(names: readonly string[]): Promise<void> {
    const write = this.tryWrite(names)
    this.lastWrite = write.catch(() => undefined)
    return write
  }

  private async tryWrite(names: readonly string[]): Promise<void> {
    try {
      await this.parts.writes.write(names.map((name) => this.opOf(name)))
    } catch (thrown) {
      for (const name of names) this.markDirty(name)
      throw thrown
    }
  }

  private opOf(name: string): StateOp {
    const cursor = this.byName.get(name)
    return cursor === undefined
      ? { kind: 'drop-cursor', name }
      : { kind: 'put-cursor', row: rowOf(cursor) }
  }

  private markDirty(name: string): void {
    assert(!this.closed, 'no cursor moves once the state is closed')
    this.dirty.add(name)
    this.timer ??= setTimeout(() => this.lazily(), this.parts.flushMs).unref()
  }

  private lazily(): void {
    this.flush().catch((thrown: unknown) => {
      // Writes has told the operator, and what is dirty is tried again after the next interval.
      if (!(thrown instanceof SluiceError)) throw thrown
    })
  }

  private known(name: string): Cursor {
    const cursor = this.byName.get(name)
    if (cursor === undefined) {
      throw new SluiceError('cursor-unknown', `there is no cursor "${name}"`)
    }
    return cursor
  }

  private nowMs(): number {
    return Math.round(this.parts.clock.now())
  }
}
