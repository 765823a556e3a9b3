/**
 * SQLite's table leaves, read without SQLite: where the b-tree above them is damaged, SQLite no
 * longer finds them, but each leaf still says by itself which rows it holds.
 *
 *   leaf page   u8 type 0x0d · u16 freeblock · u16 cells · u16 content · u8 fragments · u16 × cells
 *   cell        varint payload size · varint rowid · payload · u32 first overflow page, if any
 *   payload     varint header size · varint type of each column · the columns
 *
 * Nothing here is trusted: every number is checked against the page before it is followed, and what
 * does not fit is left out. Whether a row is right, its checksum says, not its page.
 */

/** Segments are made with pages of this size, and nothing reserved at their ends. */
export const PAGE_BYTES = 4096
/** The file's own header, before the header of the first page. */
const FILE_HEADER_BYTES = 100
const LEAF = 0x0d
/** The payload of a cell stays in its page up to this size; beyond, part of it overflows. */
const LOCAL_BYTES_MAX = PAGE_BYTES - 35
const LOCAL_BYTES_MIN = 489
const OVERFLOW_BYTES = PAGE_BYTES - 4

export type Value = number | Buffer | null

export interface Cell {
  readonly rowid: number
  /** Of the whole payload. */
  readonly sizeBytes: number
  /** The part that stands in the page. */
  readonly local: Buffer
  /** The first page of the rest; 0: there is none. */
  readonly overflowPage: number
}

/** Gives a page of the file by its number, from 1; undefined where there is none. */
export type PageSource = (page: number) => Buffer | undefined

/** The cells of a page; none when it is no leaf of a table. */
export function cellsOf(page: Buffer, number: number): Cell[] {
  const at = number === 1 ? FILE_HEADER_BYTES : 0
  if (page.length < PAGE_BYTES || page[at] !== LEAF) return []
  const count = Math.min(page.readUInt16BE(at + 3), (PAGE_BYTES - at - 8) >> 1)
  const cells: Cell[] = []
  for (let i = 0; i < count; i++) {
    const cell = cellAt(page, page.readUInt16BE(at + 8 + 2 * i))
    if (cell !== undefined) cells.push(cell)
  }
  return cells
}

function cellAt(page: Buffer, at: number): Cell | undefined {
  const size = varint(page, at)
  const row = size && varint(page, size.end)
  if (size === undefined || row === undefined) return undefined
  const local = localBytes(size.value)
  const overflows = local < size.value
  if (row.end + local + (overflows ? 4 : 0) > PAGE_BYTES) return undefined
  return {
    rowid: row.value,
    sizeBytes: size.value,
    local: page.subarray(row.end, row.end + local),
    overflowPage: overflows ? page.readUInt32BE(row.end + local) : 0,
  }
}

function localBytes(sizeBytes: number): number {
  if (sizeBytes <= LOCAL_BYTES_MAX) return sizeBytes
  const fitted = LOCAL_BYTES_MIN + ((sizeBytes - LOCAL_BYTES_MIN) % OVERFLOW_BYTES)
  return fitted <= LOCAL_BYTES_MAX ? fitted : LOCAL_BYTES_MIN
}

/** The columns of a cell; undefined when its pages are missing or its header makes no sense. */
export function columnsOf(
  cell: Cell,
  pages: PageSource,
  sizeBytesMax: number,
): Value[] | undefined {
  if (cell.sizeBytes > sizeBytesMax) return undefined
  const payload = cell.overflowPage === 0 ? cell.local : withOverflow(cell, pages)
  return payload === undefined ? undefined : decode(payload)
}

function withOverflow(cell: Cell, pages: PageSource): Buffer | undefined {
  const parts = [cell.local]
  let missing = cell.sizeBytes - cell.local.length
  let next = cell.overflowPage
  // `missing` falls with each page, so that a chain that leads back into itself ends too.
  while (missing > 0) {
    const page = next === 0 ? undefined : pages(next)
    if (page === undefined || page.length < PAGE_BYTES) return undefined
    const taken = Math.min(missing, OVERFLOW_BYTES)
    parts.push(page.subarray(4, 4 + taken))
    missing -= taken
    next = page.readUInt32BE(0)
  }
  return Buffer.concat(parts)
}

function decode(payload: Buffer): Value[] | undefined {
  const header = varint(payload, 0)
  if (header === undefined || header.value > payload.length) return undefined
  const values: Value[] = []
  let typeAt = header.end
  let at = header.value
  while (typeAt < header.value) {
    const type = varint(payload, typeAt)
    if (type === undefined) return undefined
    const length = lengthOf(type.value)
    if (length === undefined || at + length > payload.length) return undefined
    values.push(valueFrom(type.value, payload.subarray(at, at + length)))
    typeAt = type.end
    at += length
  }
  return values
}

const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0] as const

function lengthOf(type: number): number | undefined {
  return type < 12 ? INTEGER_BYTES[type] : Math.floor((type - 12) / 2)
}

function valueFrom(type: number, bytes: Buffer): Value {
  if (type === 0) return null
  if (type === 7) return bytes.readDoubleBE(0)
  if (type === 6) return Number(bytes.readBigInt64BE(0))
  if (type === 8 || type === 9) return type - 8
  if (type < 6) return bytes.readIntBE(0, bytes.length)
  return bytes
}

/** Big-endian, seven bits a byte; undefined past the end or beyond 2^53. */
function varint(bytes: Buffer, at: number): { value: number; end: number } | undefined {
  let value = 0
  for (let i = 0; i < 8; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value = value * 128 + (byte & 0x7f)
    if (byte < 0x80) return Number.isSafeInteger(value) ? { value, end: at + i + 1 } : undefined
  }
  return undefined
}
