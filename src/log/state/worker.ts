/**
 * The state thread: every list that waits goes into one transaction, so that a thousand cursors
 * that commit at once cost one sync.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { present } from '../../base/assert.ts'
import { SluiceError } from '../../base/errors.ts'
import type {
  DocumentQuery,
  FromStateThread,
  StateOp,
  StateThreadOptions,
  ToStateThread,
} from './protocol.ts'
import { StateFile } from './state-file.ts'

const port = present(parentPort, 'the port of the state thread')
const { dataDir } = workerData as StateThreadOptions
const file = new StateFile(dataDir)

function write(lists: readonly (readonly StateOp[])[]): FromStateThread {
  const count = lists.length
  try {
    file.write(lists.flat())
    return { kind: 'written', count, reserve: file.reserveState }
  } catch (thrown) {
    // Anything else is a bug and ends the process.
    if (!(thrown instanceof SluiceError)) throw thrown
    return { kind: 'failed', count, reserve: file.reserveState, message: thrown.message }
  }
}

function read(query: DocumentQuery): FromStateThread {
  try {
    return { kind: 'read', rows: file.documents(query), reserve: file.reserveState }
  } catch (thrown) {
    if (!(thrown instanceof SluiceError)) throw thrown
    return { kind: 'failed', count: 1, reserve: file.reserveState, message: thrown.message }
  }
}

port.on('message', (first: ToStateThread) => {
  let lists: (readonly StateOp[])[] = []
  const writeLists = (): void => {
    if (lists.length > 0) port.postMessage(write(lists))
    lists = []
  }
  let closing = false
  let message: ToStateThread | undefined = first
  while (message !== undefined) {
    if (message.kind === 'write') {
      lists.push(message.ops)
    } else if (message.kind === 'read') {
      // A read sees what was written before it.
      writeLists()
      port.postMessage(read(message.query))
    } else {
      closing = true
    }
    message = receiveMessageOnPort(port)?.message as ToStateThread | undefined
  }
  writeLists()
  if (!closing) return
  file.close()
  port.close()
})
