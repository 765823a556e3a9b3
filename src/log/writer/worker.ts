/**
 * The writer thread: all appends of all streams, one transaction and one sync per stream and turn.
 *
 * It drains every waiting message before it commits, so that a slow disk makes bigger groups
 * instead of a longer queue, and it never waits for company unless a stream asks (linger). A stream
 * whose storage failed is tried again on a timer; the others do not wait for it.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { present } from '../../base/assert.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { streamFolder } from '../segment.ts'
import type {
  Batch,
  Committed,
  FromWriter,
  KeeperOrder,
  NotOpened,
  StreamEnd,
  Suspended,
  ToWriter,
  WriterOptions,
} from './protocol.ts'
import { openDatabase } from './segment-file.ts'
import { type SlabMemory, slabMemory } from './segment-rows.ts'
import { StreamWriter, TRANSACTION_BYTES_MAX, TRANSACTION_RECORDS_MAX } from './stream-writer.ts'

/** Codes of Node and SQLite that mean: this user may not write here. */
const NOT_WRITABLE = /^(EACCES|EPERM|EROFS|SQLITE_READONLY|SQLITE_CANTOPEN|SQLITE_PERM)/

const port = present(parentPort, 'the port of the writer thread')
const options = workerData as WriterOptions
const slabs = new Map<number, SlabMemory>()
const writers = options.streams.map(
  (stream, index) =>
    new StreamWriter({
      index,
      stream,
      folder: streamFolder(options.dataDir, stream.name),
      segmentBytes: options.segmentBytes,
      walBytesMax: options.walBytesMax,
      open: openDatabase,
    }),
)
/** Why each suspended stream is, as the main thread was told. */
const told = new Map<number, string>()
const retries = new Map<number, NodeJS.Timeout>()
const lingering = new Map<number, NodeJS.Timeout>()
let sequence = 0
let sequenceTold = 0
let closing = false

function post(message: FromWriter): void {
  port.postMessage(message)
}

function start(): void {
  try {
    const streams = writers.map((writer, index) =>
      options.outOfService.includes(index) ? undefined : open(writer, index),
    )
    post({ kind: 'opened', streams })
    report([])
    port.on('message', turn)
  } catch (thrown) {
    if (codeOf(thrown) !== 'format-unknown') throw thrown
    for (const writer of writers) writer.close()
    post({ kind: 'refused', code: 'format-unknown', message: messageOf(thrown) })
  }
}

/** Throws `format-unknown`, and what is a bug. */
function open(writer: StreamWriter, index: number): StreamEnd | NotOpened {
  try {
    return writer.open()
  } catch (thrown) {
    const cause = codeOf(thrown)
    if (cause === undefined || cause === 'format-unknown') throw thrown
    const name = options.streams[index]?.name ?? ''
    return {
      code: NOT_WRITABLE.test(cause) ? 'data-dir-unusable' : 'storage',
      message: `the stream "${name}" cannot be opened: ${messageOf(thrown)}`,
      cause,
    }
  }
}

function turn(first: ToWriter): void {
  // A word of the keeper can be on its way while the port closes.
  if (closing) return
  let message: ToWriter | undefined = first
  while (message !== undefined) {
    handle(message)
    message = receiveMessageOnPort(port)?.message as ToWriter | undefined
  }
  const due = writers.filter((_, index) => closing || !lingers(index))
  report(due)
  for (const writer of writers) writer.restartWal()
  for (const writer of writers) writer.retireDue()
  if (writers.some(hasNews)) report([])
  if (!closing) return
  // The last chance for what waits in suspended streams.
  for (const [index, writer] of writers.entries()) if (writer.failure !== undefined) retry(index)
  for (const timer of [...lingering.values(), ...retries.values()]) clearTimeout(timer)
  for (const writer of writers) writer.close()
  post({ kind: 'closed' })
  port.close()
}

function hasNews(writer: StreamWriter, index: number): boolean {
  return writer.failure !== told.get(index) || writer.orders.length > 0
}

function handle(message: ToWriter): void {
  switch (message.kind) {
    case 'batch':
      insert(message)
      break
    case 'release':
      writers[message.stream]?.release(message.file)
      break
    case 'checkpointed':
      writers[message.stream]?.checkpointed(message)
      break
    case 'retire':
      writers[message.stream]?.retire(message.file)
      break
    case 'close':
      closing = true
      break
    default:
      message satisfies never
  }
}

function insert(batch: Batch): void {
  if (batch.memory !== undefined) slabs.set(batch.slab, slabMemory(batch.memory))
  const slab = present(slabs.get(batch.slab), `slab ${batch.slab}`)
  for (let at = batch.from; at < batch.to; ) {
    const index = slab.view.getUint16(at + 4, true)
    const writer = present(writers[index], `stream ${index}`)
    writer.insert(slab, at)
    if (isFull(writer, index)) report([writer])
    at += slab.view.getUint32(at, true)
  }
  sequence = batch.sequence
  for (const id of batch.forget ?? []) slabs.delete(id)
}

function isFull(writer: StreamWriter, index: number): boolean {
  return (
    writer.openBytes >= TRANSACTION_BYTES_MAX ||
    (writer.openRecords >= TRANSACTION_RECORDS_MAX && !lingers(index))
  )
}

function lingers(index: number): boolean {
  return (options.streams[index]?.lingerMs ?? 0) > 0
}

/** Tries a suspended stream again; when it works, all that waited is written at once. */
function retry(index: number): void {
  const writer = present(writers[index], `stream ${index}`)
  clearTimeout(retries.get(index))
  retries.delete(index)
  const done = writer.retry()
  report([], done === undefined ? [] : [done])
  while (writer.writeWaiting()) report([writer])
  writer.retireDue()
  report([])
}

/**
 * Commits these writers, arms the timers of those that linger or are suspended, and tells the main
 * thread, with what was committed already.
 */
function report(due: readonly StreamWriter[], committed: Committed[] = []): void {
  for (const writer of due) {
    const done = writer.commit()
    if (done !== undefined) committed.push(done)
  }
  armTimers()
  armRetries()
  const resumed = newlyResumed()
  const suspended = newlySuspended()
  const orders: KeeperOrder[] = []
  for (const writer of writers) {
    if (writer.orders.length > 0) orders.push(...writer.orders.splice(0))
  }
  // With nothing committed, the batches that were read must still be told while a stream is
  // suspended: the main thread waits for that before it uses their memory again.
  const silent = told.size === 0 || sequence === sequenceTold
  const changes = resumed.length + suspended.length
  if (committed.length + changes + orders.length === 0 && silent) return
  sequenceTold = sequence
  post({ kind: 'report', sequence, resumed, committed, suspended, orders })
}

/** A stream that lingers commits that long after its first record. */
function armTimers(): void {
  for (const [index, writer] of writers.entries()) {
    const timer = lingering.get(index)
    if (writer.openRecords === 0) {
      clearTimeout(timer)
      lingering.delete(index)
    } else if (timer === undefined && lingers(index)) {
      const delayMs = options.streams[index]?.lingerMs
      lingering.set(
        index,
        setTimeout(() => report([writer]), delayMs),
      )
    }
  }
}

function armRetries(): void {
  for (const [index, writer] of writers.entries()) {
    if (writer.failure === undefined || retries.has(index)) continue
    retries.set(
      index,
      setTimeout(() => retry(index), writer.retryDelayMs),
    )
  }
}

function newlyResumed(): number[] {
  const resumed = [...told.keys()].filter((stream) => writers[stream]?.failure === undefined)
  for (const stream of resumed) told.delete(stream)
  return resumed
}

function newlySuspended(): Suspended[] {
  const suspended: Suspended[] = []
  for (const [stream, { failure, lost }] of writers.entries()) {
    if (failure === undefined || told.get(stream) === failure) continue
    told.set(stream, failure)
    suspended.push({ stream, reason: failure, lost })
  }
  return suspended
}

start()
