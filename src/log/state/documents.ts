/**
 * Documents on their way to disk and back. What was put and is not on disk yet lies over what the
 * file says, so that every reader sees it (read your own writes).
 *
 *   put ──▶ pending ──one transaction──▶ writing ──▶ on disk
 *                 ◀──────── failed ─────────┘
 *
 * One transaction at a time, and each takes all that is pending: so no write overtakes an earlier
 * one, also when that one failed, and a thousand that wait for the disk share one sync. What
 * fails goes back, behind what came meanwhile, and is tried again with the next write.
 *
 * Memory: what is pending goes to disk at 1 MiB. While the disk takes nothing it is the documents'
 * owners who bound how many different ones there are.
 */
import { assert } from '../../base/assert.ts'
import { SluiceError } from '../../base/errors.ts'
import type { Document, Documents, DocumentWrite } from '../state.ts'
import { inOrder } from './document-table.ts'
import type { StateOp } from './protocol.ts'
import type { StateSink } from './sink.ts'
import type { Writes } from './writes.ts'

/** Pending bytes at which nobody waits for the timer. */
const PENDING_BYTES_MAX = 1024 * 1024
/** Values asked for at once: the state thread writes in between. */
const KEYS_AT_ONCE = 64

/** By kind, then key; an undefined value removes. */
type Values = Map<string, Map<string, Uint8Array | undefined>>

export interface DocumentSetParts {
  /** Kinds that the file has documents of: for all others nobody asks the state thread. */
  readonly kinds: Iterable<string>
  readonly sink: StateSink
  readonly writes: Writes
  /** How long a lazy write may wait. */
  readonly flushMs: number
}

export class DocumentSet implements Documents {
  private readonly parts: DocumentSetParts
  private readonly kinds: Set<string>
  private pending: Values = new Map()
  private pendingBytes = 0
  private writing: Values = new Map()
  /** The transaction under way; never rejects. */
  private current: Promise<unknown> = Promise.resolve()
  /** The one behind it, for all who wait. */
  private next: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private closed = false

  constructor(parts: DocumentSetParts) {
    this.parts = parts
    this.kinds = new Set(parts.kinds)
  }

  async *load(kind: string): AsyncIterable<Document> {
    let after: string | undefined
    for (;;) {
      const page = this.kinds.has(kind) ? await this.parts.sink.read({ of: kind, after }) : []
      // Behind the last page of the file comes one with what waits behind that.
      const end = page.at(-1)?.key
      yield* this.laidOver(kind, page, after, end)
      if (end === undefined) return
      after = end
    }
  }

  async get(kind: string, keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = []
    for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
      const asked = keys.slice(from, from + KEYS_AT_ONCE)
      const read = this.kinds.has(kind) ? await this.parts.sink.read({ of: kind, keys: asked }) : []
      const onDisk = new Map(read.map(({ key, value }) => [key, value]))
      for (const key of asked) {
        const put = this.waiting(kind, key)
        values.push(put === undefined ? onDisk.get(key) : put.value)
      }
    }
    return values
  }

  put(writes: readonly DocumentWrite[]): void {
    this.note(writes)
    if (this.pendingBytes > PENDING_BYTES_MAX) this.lazily()
  }

  putNow(writes: readonly DocumentWrite[]): Promise<void> {
    this.note(writes)
    return this.flush()
  }

  /** Resolves when all that was put before is on disk; rejects with `storage`. */
  flush(): Promise<void> {
    clearTimeout(this.timer)
    this.timer = undefined
    this.next ??= this.writeNext()
    return this.next
  }

  /** No lazy write begins after this. */
  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  private note(writes: readonly DocumentWrite[]): void {
    assert(!this.closed, 'no document is put once the state is closed')
    for (const { kind, key, value } of writes) {
      // A copy: the caller's memory may be used again, and a view would be posted with all around.
      const own = value === undefined ? undefined : new Uint8Array(value)
      valuesOf(this.pending, kind).set(key, own)
      this.pendingBytes += key.length + (own?.length ?? 0)
    }
    this.schedule()
  }

  private schedule(): void {
    if (this.closed || this.pending.size === 0) return
    this.timer ??= setTimeout(() => this.lazily(), this.parts.flushMs).unref()
  }

  private lazily(): void {
    this.flush().catch((thrown: unknown) => {
      // Writes has told the operator, and what failed is tried again after the next interval.
      if (!(thrown instanceof SluiceError)) throw thrown
    })
  }

  private async writeNext(): Promise<void> {
    await this.current
    this.next = undefined
    const write = this.writePending()
    this.current = write.catch(() => undefined)
    await write
  }

  private async writePending(): Promise<void> {
    const batch = this.pending
    this.pending = new Map()
    this.pendingBytes = 0
    this.writing = batch
    for (const kind of batch.keys()) this.kinds.add(kind)
    try {
      await this.parts.writes.write(opsOf(batch))
      this.writing = new Map()
    } catch (thrown) {
      this.takeBack(batch)
      throw thrown
    }
  }

  private takeBack(batch: Values): void {
    this.writing = new Map()
    for (const [kind, values] of batch) {
      const newer = valuesOf(this.pending, kind)
      for (const [key, value] of values) if (!newer.has(key)) newer.set(key, value)
    }
    this.schedule()
  }

  /** What is not on disk yet of a key; undefined: what the file says holds. */
  private waiting(kind: string, key: string): { value: Uint8Array | undefined } | undefined {
    for (const values of [this.pending, this.writing]) {
      const own = values.get(kind)
      if (own?.has(key)) return { value: own.get(key) }
    }
    return undefined
  }

  /** A page of the file with what waits of the keys behind `after`, up to and with `end`. */
  private laidOver(
    kind: string,
    page: readonly Document[],
    after: string | undefined,
    end: string | undefined,
  ): Document[] {
    const values = new Map<string, Uint8Array | undefined>()
    for (const { key, value } of page) values.set(key, value)
    for (const waiting of [this.writing, this.pending]) {
      for (const [key, value] of waiting.get(kind) ?? []) {
        const isBehind = after === undefined || inOrder(key, after) > 0
        if (isBehind && (end === undefined || inOrder(key, end) <= 0)) values.set(key, value)
      }
    }
    return [...values]
      .flatMap(([key, value]) => (value === undefined ? [] : [{ key, value }]))
      .sort((a, b) => inOrder(a.key, b.key))
  }
}

function valuesOf(values: Values, kind: string): Map<string, Uint8Array | undefined> {
  let own = values.get(kind)
  if (own === undefined) {
    own = new Map()
    values.set(kind, own)
  }
  return own
}

function opsOf(batch: Values): StateOp[] {
  return [...batch].flatMap(([kind, values]) =>
    [...values].map(([key, value]): StateOp => {
      return value === undefined
        ? { kind: 'drop-document', of: kind, key }
        : { kind: 'put-document', of: kind, key, value }
    }),
  )
}
