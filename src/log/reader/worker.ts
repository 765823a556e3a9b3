/** The reader thread: pages of older records, so that no read holds up the main thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { present } from '../../base/assert.ts'
import { messageOf, SluiceError } from '../../base/errors.ts'
import type { Boots } from '../clock/time-of.ts'
import { FileLogReader } from './log-reader.ts'
import type { FromReader, ReaderOptions, ToReader } from './protocol.ts'
import { SegmentDamaged } from './segment-file.ts'

const port = present(parentPort, 'the port of the reader thread')
const { dataDir } = workerData as ReaderOptions
let reader: FileLogReader | undefined
let boots: Boots = new Map()

function opened(): FileLogReader {
  reader ??= new FileLogReader(dataDir, () => boots)
  return reader
}

type Question = Exclude<ToReader, { kind: 'close' | 'forget-removed' | 'boots' }>

function answer(question: Question): FromReader {
  try {
    switch (question.kind) {
      case 'read':
        return { kind: 'page', page: opened().readPacked(question.query, question.end) }
      case 'locate':
        return { kind: 'located', position: opened().locate(question.stream, question.start) }
      case 'bounds':
        return { kind: 'bounds', bounds: opened().bounds(question.stream) }
      default:
        return question satisfies never
    }
  } catch (thrown) {
    // Anything else is a bug and ends the process.
    if (!(thrown instanceof SluiceError)) throw thrown
    const cause = thrown.cause === undefined ? undefined : messageOf(thrown.cause)
    const file = thrown instanceof SegmentDamaged ? thrown.file : undefined
    return { kind: 'failed', code: thrown.code, message: thrown.message, cause, file }
  }
}

port.on('message', (question: ToReader) => {
  if (question.kind === 'close') {
    reader?.close()
    port.close()
    return
  }
  if (question.kind === 'boots') {
    boots = question.boots
    return
  }
  if (question.kind === 'forget-removed') {
    reader?.forgetRemoved()
    return
  }
  const answered = answer(question)
  port.postMessage(answered, answered.kind === 'page' ? [answered.page.entries.buffer] : [])
})
