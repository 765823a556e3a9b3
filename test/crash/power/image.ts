/**
 * What a disk may hold after the power went.
 *
 * P1. Bytes of a file are there when a sync of the file, begun after them, was done before the cut.
 * P2. A name is there, gone or changed when a sync of its folder says so in the same way.
 * P3. Of everything else any part may be there: a write as a whole, not at all, or torn at sectors
 *     of 512 bytes; in order or out of order; growth without its bytes, as zeros or as old bytes;
 *     names that have nothing to do with each other in any combination.
 * P4. A rename from one folder to another is there as a whole or not at all, is durable with a sync
 *     of either folder, and such renames are kept in their order, each with what was done in its
 *     two folders before it: journals of file systems give that, and no program could do without.
 *
 * No real file system is that bad all at once; what survives this survives theirs.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { SeededRandom } from '../../../src/base/random.ts'
import type {
  Change,
  Crossing,
  FileHistory,
  FolderHistory,
  History,
  Move,
  Node,
  Sync,
} from './history.ts'
import { BEGIN } from './prelude.ts'

const SECTOR_BYTES = 512
/** SQLite's shared memory is written past the recorder, and means nothing after a restart. */
const SHARED_MEMORY = /-shm$/
const SHARED_MEMORY_BYTES = 32 * 1024

/** What becomes of the unsynced part of one file or folder. */
const fates = ['nothing', 'everything', 'prefix', 'subset'] as const
type Fate = (typeof fates)[number]

export interface Cut {
  /** Operations with a smaller `at` were done. */
  readonly at: number
  /** The same for the whole disk; undefined: each file and folder has its own. */
  readonly fate: Fate | undefined
}

/** The moment after the last operation with nothing lost: the disk as the process left it. */
export const NO_CUT: Cut = { at: Number.POSITIVE_INFINITY, fate: 'everything' }

/**
 * Any moment; half of the cuts stand close behind the move of a name, because that is where a
 * mistake in the order of syncs shows.
 */
export function randomCut(history: History, random: SeededRandom): Cut {
  const { operations } = history
  const begin = operations.findLastIndex((each) => each.kind === 'mark' && each.line === BEGIN) + 1
  let index = begin + random.below(operations.length - begin + 1)
  if (random.oneIn(2)) {
    const near = random.below(12)
    while (index > begin && !movesName(operations[index - 1]?.kind)) index--
    index = Math.min(operations.length, index + near)
  }
  const at = operations[index]?.at ?? Number.POSITIVE_INFINITY
  const whole = random.below(12)
  const fate = whole < 2 ? 'nothing' : whole === 2 ? 'everything' : undefined
  return { at, fate }
}

function movesName(kind: string | undefined): boolean {
  return kind !== 'write' && kind !== 'sync' && kind !== 'mark' && kind !== 'truncate'
}

/** Writes the image into `folder`, which exists and is empty. */
export function writeImage(history: History, cut: Cut, random: SeededRandom, folder: string): void {
  new ImageWriter(cut, random, history.crossings).writeFolder(history.root, folder)
}

class ImageWriter {
  private readonly cut: Cut
  private readonly random: SeededRandom
  /** Renames between folders are there up to this one (P4). */
  private readonly crossedAt: number

  constructor(cut: Cut, random: SeededRandom, crossings: readonly Crossing[]) {
    this.cut = cut
    this.random = random
    this.crossedAt = this.lastCrossing(crossings)
  }

  writeFolder(folder: FolderHistory, target: string): void {
    for (const [name, node] of this.entriesOf(folder)) {
      const file = path.join(target, name)
      if (node.kind === 'folder') {
        fs.mkdirSync(file)
        this.writeFolder(node, file)
      } else if (SHARED_MEMORY.test(name)) {
        fs.writeFileSync(file, this.oldBytes(SHARED_MEMORY_BYTES))
      } else {
        fs.writeFileSync(file, this.contentOf(node))
      }
    }
  }

  private entriesOf(folder: FolderHistory): Map<string, Node> {
    const entries = new Map<string, Node>()
    const split = this.split(folder.moves, folder.syncs)
    const crossed = split.pending.findLastIndex((move) => this.isCrossed(move)) + 1
    for (const move of split.durable) applyMove(entries, move)
    for (const move of split.pending.slice(0, crossed)) applyMove(entries, move)
    const rest = split.pending.slice(crossed)
    const lost = rest.findIndex(({ kind }) => isCrossing(kind))
    const pending = lost < 0 ? rest : rest.slice(0, lost)
    const fate = this.fate()
    const kept = new Set(fate === 'subset' ? this.subset(pending) : this.prefix(pending, fate))
    for (const move of pending) if (kept.has(move)) applyMove(entries, move)
    return entries
  }

  private isCrossed({ kind, at }: Move): boolean {
    return isCrossing(kind) && at <= this.crossedAt
  }

  /** Where the last rename between folders stands that is on the disk; below 0 without one. */
  private lastCrossing(crossings: readonly Crossing[]): number {
    const done = crossings.filter(({ at }) => at < this.cut.at)
    const durable = done.findLastIndex(
      ({ at, from, to }) => at < this.syncedAt(from.syncs) || at < this.syncedAt(to.syncs),
    )
    const kept = durable + 1 + this.prefix(done.slice(durable + 1), this.fate()).length
    return done[kept - 1]?.at ?? -1
  }

  /** Moves that share names keep their order; groups that share none are independent. */
  private subset(pending: readonly Move[]): Move[] {
    const groups: { names: Set<string>; moves: Move[] }[] = []
    for (const move of pending) {
      const names = move.kind === 'rename' ? [move.name, move.to] : [move.name]
      const joined = { names: new Set(names), moves: [] as Move[] }
      for (const group of groups.splice(0)) {
        if (names.some((name) => group.names.has(name))) {
          for (const name of group.names) joined.names.add(name)
          joined.moves.push(...group.moves)
        } else {
          groups.push(group)
        }
      }
      joined.moves.push(move)
      joined.moves.sort((a, b) => a.at - b.at)
      groups.push(joined)
    }
    return groups.flatMap(({ moves }) => this.prefix(moves, 'prefix'))
  }

  private prefix<T>(pending: readonly T[], fate: Fate): readonly T[] {
    if (fate === 'nothing') return []
    if (fate === 'everything') return pending
    return pending.slice(0, this.random.below(pending.length + 1))
  }

  private contentOf(file: FileHistory): Buffer {
    const content = new Content()
    const { durable, pending } = this.split(file.changes, file.syncs)
    for (const change of durable) content.apply(change)
    const fate = this.fate()
    const order = fate === 'subset' ? pending : this.prefix(pending, fate)
    for (const [i, change] of order.entries()) {
      const last = fate === 'prefix' && i === order.length - 1
      const part = fate === 'subset' ? this.random.below(3) : last ? 1 : 2
      if (part === 2) content.apply(change)
      else if (change.kind === 'write') this.tear(content, change, part)
    }
    return content.bytes
  }

  /** Keeps some sectors of a write (`part` 1) or none (0). Growth may be seen without its bytes. */
  private tear(content: Content, write: Extract<Change, { kind: 'write' }>, part: number): void {
    const end = write.offset + write.bytes.length
    const grown = end - content.bytes.length
    if (grown > 0 && this.random.oneIn(2)) {
      const filling = this.random.oneIn(2) ? Buffer.alloc(grown) : this.oldBytes(grown)
      content.write(content.bytes.length, filling)
    }
    if (part === 0) return
    for (let at = write.offset; at < end; ) {
      const next = Math.min(end, at - (at % SECTOR_BYTES) + SECTOR_BYTES)
      if (this.random.oneIn(2)) {
        content.write(at, write.bytes.subarray(at - write.offset, next - write.offset))
      }
      at = next
    }
  }

  private fate(): Fate {
    return this.cut.fate ?? this.random.pick(fates)
  }

  private split<T extends { readonly at: number }>(
    all: readonly T[],
    syncs: readonly Sync[],
  ): { durable: T[]; pending: T[] } {
    const began = this.syncedAt(syncs)
    const done = all.filter(({ at }) => at < this.cut.at)
    return {
      durable: done.filter(({ at }) => at < began),
      pending: done.filter(({ at }) => at >= began),
    }
  }

  /** Everything before it is on the disk. */
  private syncedAt(syncs: readonly Sync[]): number {
    return syncs.reduce((max, sync) => (sync.at < this.cut.at ? sync.began : max), 0)
  }

  private oldBytes(count: number): Buffer {
    return Buffer.from(Uint8Array.from({ length: count }, () => this.random.below(256)))
  }
}

function isCrossing(kind: Move['kind']): boolean {
  return kind === 'leave' || kind === 'arrive'
}

function applyMove(entries: Map<string, Node>, move: Move): void {
  const isNew = move.kind === 'add' || move.kind === 'arrive'
  const node = isNew ? move.node : entries.get(move.name)
  if (!isNew) entries.delete(move.name)
  if (node === undefined || move.kind === 'remove' || move.kind === 'leave') return
  entries.set(move.kind === 'rename' ? move.to : move.name, node)
}

/** A file's bytes while its changes are applied. */
class Content {
  private memory = Buffer.alloc(64 * 1024)
  private sizeBytes = 0

  /** A view of the bytes as they are. */
  get bytes(): Buffer {
    return this.memory.subarray(0, this.sizeBytes)
  }

  apply(change: Change): void {
    if (change.kind === 'write') this.write(change.offset, change.bytes)
    else this.resize(change.sizeBytes)
  }

  write(offset: number, bytes: Buffer): void {
    if (offset + bytes.length > this.sizeBytes) this.resize(offset + bytes.length)
    bytes.copy(this.memory, offset)
  }

  /** Beyond the size the memory is always zero. */
  private resize(sizeBytes: number): void {
    if (sizeBytes > this.memory.length) {
      const larger = Buffer.alloc(Math.max(sizeBytes, 2 * this.memory.length))
      this.bytes.copy(larger)
      this.memory = larger
    }
    if (sizeBytes < this.sizeBytes) this.memory.fill(0, sizeBytes, this.sizeBytes)
    this.sizeBytes = sizeBytes
  }
}
