/** Where the state's writes go: the state thread, the file itself, or memory (the model). */
import type { Document } from '../state.ts'
import { inOrder } from './document-table.ts'
import type { DocumentQuery, ReserveState, StateOp } from './protocol.ts'
import type { StateFile } from './state-file.ts'

export interface StateSink {
  readonly reserveState: ReserveState
  /** On disk when it resolves, in the order of the calls. Rejects with `storage`. */
  write(ops: readonly StateOp[]): Promise<void>
  /** Documents in key order, at most a page of them. Rejects with `storage`. */
  read(query: DocumentQuery): Promise<readonly Document[]>
  /** Finishes what was asked before and lets go of the file. */
  close(): Promise<void>
}

/** Writes on the calling thread: for commands. */
export function fileSink(file: StateFile): StateSink {
  return {
    get reserveState() {
      return file.reserveState
    },
    write: async (ops) => file.write(ops),
    read: async (query) => file.documents(query),
    close: async () => file.close(),
  }
}

/** Keeps nothing but documents, in memory. */
export function memorySink(): StateSink {
  const kinds = new Map<string, Map<string, Uint8Array>>()
  const documentsOf = (kind: string): Map<string, Uint8Array> => {
    const documents = kinds.get(kind) ?? new Map<string, Uint8Array>()
    kinds.set(kind, documents)
    return documents
  }
  const keep = (op: StateOp): void => {
    if (op.kind === 'put-document') documentsOf(op.of).set(op.key, op.value)
    if (op.kind === 'drop-document') documentsOf(op.of).delete(op.key)
  }
  return {
    reserveState: 'kept',
    write: async (ops) => ops.forEach(keep),
    read: async (query) => {
      const documents = [...documentsOf(query.of)].map(([key, value]) => ({ key, value }))
      if ('keys' in query) return documents.filter(({ key }) => query.keys.includes(key))
      const { after } = query
      return documents
        .filter(({ key }) => after === undefined || inOrder(key, after) > 0)
        .sort((a, b) => inOrder(a.key, b.key))
    },
    close: () => Promise.resolve(),
  }
}
