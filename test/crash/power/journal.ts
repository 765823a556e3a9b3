/** Reads what the recorder noted. The layout stands in recorder.c. */

/** Offsets in the journal are the clock of everything: `at` is where an operation's note begins. */
export type Operation = { readonly at: number } & (
  | { readonly kind: 'root'; readonly inode: number }
  | { readonly kind: 'create' | 'mkdir'; readonly path: string; readonly inode: number }
  | {
      readonly kind: 'write'
      readonly inode: number
      readonly offset: number
      readonly bytes: Buffer
    }
  | { readonly kind: 'truncate'; readonly inode: number; readonly sizeBytes: number }
  /** `began`: operations with a smaller `at` were done when the sync began. */
  | { readonly kind: 'sync'; readonly inode: number; readonly began: number }
  | { readonly kind: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly kind: 'unlink' | 'rmdir'; readonly path: string }
  | { readonly kind: 'mark'; readonly line: string }
)

const MAGIC = 0x4a525750
const HEAD_BYTES = 32

const kinds = [
  'none',
  'root',
  'create',
  'mkdir',
  'write',
  'truncate',
  'sync',
  'rename',
  'unlink',
  'rmdir',
  'link',
  'mark',
] as const

/** A note as the recorder writes it, with one byte string. */
export function encodeNote(
  kind: (typeof kinds)[number],
  inode: number,
  number: number,
  bytes: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(MAGIC, 0)
  head.writeUInt32LE(kinds.indexOf(kind), 4)
  head.writeBigUInt64LE(BigInt(inode), 8)
  head.writeBigUInt64LE(BigInt(number), 16)
  head.writeUInt32LE(bytes.length, 24)
  return Buffer.concat([head, bytes])
}

/** Throws when the journal is not whole: then its figures would prove nothing. */
export function parseJournal(journal: Buffer): Operation[] {
  const operations: Operation[] = []
  for (let at = 0; at < journal.length; ) {
    const magic = journal.length - at < HEAD_BYTES ? 0 : journal.readUInt32LE(at)
    if (magic !== MAGIC) throw new Error(`the journal has no note at byte ${at}`)
    const firstAt = at + HEAD_BYTES
    const secondAt = firstAt + journal.readUInt32LE(at + 24)
    const end = secondAt + journal.readUInt32LE(at + 28)
    if (end > journal.length) throw new Error(`the journal ends in the note at byte ${at}`)
    operations.push(operation(journal, at, firstAt, secondAt, end))
    at = end
  }
  return operations
}

function operation(
  journal: Buffer,
  at: number,
  firstAt: number,
  secondAt: number,
  end: number,
): Operation {
  const kind = kinds[journal.readUInt32LE(at + 4)]
  const inode = Number(journal.readBigUInt64LE(at + 8))
  const number = Number(journal.readBigUInt64LE(at + 16))
  const path = () => journal.toString('utf8', firstAt, secondAt)
  switch (kind) {
    case 'root':
      return { at, kind, inode }
    case 'create':
    case 'mkdir':
      return { at, kind, inode, path: path() }
    case 'write':
      return { at, kind, inode, offset: number, bytes: journal.subarray(firstAt, secondAt) }
    case 'truncate':
      return { at, kind, inode, sizeBytes: number }
    case 'sync':
      return { at, kind, inode, began: number }
    case 'rename':
    case 'link':
      return { at, kind, path: path(), to: journal.toString('utf8', secondAt, end) }
    case 'unlink':
    case 'rmdir':
      return { at, kind, path: path() }
    case 'mark':
      return { at, kind, line: path().trim() }
    default:
      throw new Error(`the note at byte ${at} is of no known kind`)
  }
}
