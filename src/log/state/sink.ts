/** Where the state's writes go: the state thread, the file itself, or nowhere (the model). */
import type { ReserveState, StateOp } from './protocol.ts'
import type { StateFile } from './state-file.ts'

export interface StateSink {
  readonly reserveState: ReserveState
  /** On disk when it resolves, in the order of the calls. Rejects with `storage`. */
  write(ops: readonly StateOp[]): Promise<void>
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
    close: async () => file.close(),
  }
}

/** Keeps nothing. */
export const noSink: StateSink = {
  reserveState: 'kept',
  write: () => Promise.resolve(),
  close: () => Promise.resolve(),
}
