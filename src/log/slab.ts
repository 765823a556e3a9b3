/**
 * The memory of the tail: slabs that the writer thread shares, so that a record is packed once and
 * never copied to it.
 *
 * Slabs are filled one after the other and leave in the same order, whole: a slab goes when all of
 * it is on disk and the tail is over its bound. So one slow stream pins nothing, and a used slab
 * comes back for new records instead of going through the garbage collector.
 *
 *   oldest ──▶ [ full | full | full | current, filled to `used`, handed over to `posted` ]
 */

/** What a record costs beside its bytes: the LogRecord object and its place in the tail. */
const RECORD_BYTES = 160
/** Slabs kept for reuse; beyond them (after a burst) memory goes back. */
const POOL_SLABS = 2

export class Slab {
  readonly id: number
  readonly shared: SharedArrayBuffer
  readonly bytes: Uint8Array
  readonly view: DataView
  used = 0
  posted = 0
  /** Records between `posted` and `used`. */
  unposted = 0
  records = 0
  /** The writer has the memory already. */
  shown = false
  /** Sequence of the last batch that names this slab. */
  lastBatch = 0
  /** By stream index: the position after the stream's last record in here. */
  ends: (number | undefined)[] = []

  constructor(id: number, sizeBytes: number) {
    this.id = id
    this.shared = new SharedArrayBuffer(sizeBytes)
    this.bytes = new Uint8Array(this.shared)
    this.view = new DataView(this.shared)
  }

  get memoryBytes(): number {
    return this.bytes.length + this.records * RECORD_BYTES
  }
}

/** Says whether a slab may go, and is told when it goes. */
export interface SlabOwner {
  isReleasable(slab: Slab): boolean
  released(slab: Slab): void
}

export class Slabs {
  current: Slab
  private readonly slabBytes: number
  private readonly tailBytes: number
  private readonly owner: SlabOwner
  /** Full ones, oldest first. */
  private full: Slab[] = []
  private fullBytes = 0
  private pool: Slab[] = []
  private forgotten: number[] = []
  private nextId = 1

  constructor(slabBytes: number, tailBytes: number, owner: SlabOwner) {
    this.slabBytes = slabBytes
    this.tailBytes = tailBytes
    this.owner = owner
    this.current = this.take(slabBytes)
  }

  /** Makes another slab current, with room for an entry of `sizeBytes`. */
  advance(sizeBytes: number): Slab {
    this.full.push(this.current)
    this.fullBytes += this.current.memoryBytes
    this.reclaim()
    this.current = this.take(Math.max(sizeBytes, this.slabBytes))
    return this.current
  }

  /** Numbers of slabs that will not come again, since the last call; for the writer. */
  takeForgotten(): readonly number[] | undefined {
    if (this.forgotten.length === 0) return undefined
    const forgotten = this.forgotten
    this.forgotten = []
    return forgotten
  }

  private reclaim(): void {
    let gone = 0
    for (const slab of this.full) {
      if (this.fullBytes + this.slabBytes <= this.tailBytes) break
      if (!this.owner.isReleasable(slab)) break
      this.fullBytes -= slab.memoryBytes
      this.owner.released(slab)
      this.keepOrForget(slab)
      gone++
    }
    if (gone > 0) this.full.splice(0, gone)
  }

  /** A slab of its own for a big record is never kept. */
  private keepOrForget(slab: Slab): void {
    if (this.pool.length >= POOL_SLABS || slab.bytes.length !== this.slabBytes) {
      this.forgotten.push(slab.id)
      return
    }
    slab.used = 0
    slab.posted = 0
    slab.unposted = 0
    slab.records = 0
    slab.ends = []
    this.pool.push(slab)
  }

  private take(sizeBytes: number): Slab {
    const pooled = sizeBytes === this.slabBytes ? this.pool.pop() : undefined
    return pooled ?? new Slab(this.nextId++, sizeBytes)
  }
}
