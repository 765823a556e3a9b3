/** The state of the in-memory log: the same cursors and ledger, with nothing on disk. */
import type { Clock } from '../../base/clock.ts'
import type { LogSource } from './placing.ts'
import { memorySink } from './sink.ts'
import { StateStore } from './store.ts'

export function memoryState(source: LogSource, clock: Clock): StateStore {
  const state = new StateStore({ sink: memorySink(), clock })
  state.attach(source)
  return state
}
