import { type SlabMemory, slabMemory } from './segment-rows.ts'

/** Copies of small entries share a piece of memory of this size. */
const PIECE_BYTES = 64 * 1024

/**
 * The entries of one stream that are not on disk yet, in position order: those of the open
 * transaction and, while the stream is suspended, all that came since.
 *
 * Entries stand in slabs that the main thread uses again. As long as the stream works that is not
 * before their commit. A suspended stream would pin the slabs of all others with it, so it holds
 * copies: the main thread may take a slab back once this thread has read it.
 */
export class Waiting {
  /** Two columns instead of objects: this is on the way of every record. */
  private slabs: SlabMemory[] = []
  private places: number[] = []
  /** So many of the first entries are copies. */
  private copied = 0
  private piece: SlabMemory | undefined
  private pieceUsed = 0

  get count(): number {
    return this.places.length
  }

  push(slab: SlabMemory, at: number): void {
    this.slabs.push(slab)
    this.places.push(at)
  }

  entry(index: number): { readonly slab: SlabMemory; readonly at: number } | undefined {
    const slab = this.slabs[index]
    const at = this.places[index]
    return slab === undefined || at === undefined ? undefined : { slab, at }
  }

  /** The first `count` entries are on disk. */
  drop(count: number): void {
    if (count === this.places.length) {
      this.slabs = []
      this.places = []
      this.piece = undefined
    } else {
      this.slabs.splice(0, count)
      this.places.splice(0, count)
    }
    this.copied = Math.max(0, this.copied - count)
  }

  /** Copies what still stands in slabs. */
  leaveSlabs(): void {
    for (; this.copied < this.places.length; this.copied++) {
      const entry = this.entry(this.copied)
      if (entry !== undefined) this.copy(entry.slab, entry.at)
    }
  }

  /** Puts a copy in the place of the next entry that is none. */
  private copy(slab: SlabMemory, at: number): void {
    const sizeBytes = slab.view.getUint32(at, true)
    if (this.piece === undefined || this.pieceUsed + sizeBytes > this.piece.buffer.length) {
      this.piece = slabMemory(new SharedArrayBuffer(Math.max(sizeBytes, PIECE_BYTES)))
      this.pieceUsed = 0
    }
    slab.buffer.copy(this.piece.buffer, this.pieceUsed, at, at + sizeBytes)
    this.slabs[this.copied] = this.piece
    this.places[this.copied] = this.pieceUsed
    this.pieceUsed += sizeBytes
  }
}
