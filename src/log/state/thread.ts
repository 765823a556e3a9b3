/**
 * The state thread as the main thread sees it: no sync of `state.db` ever holds up the event loop.
 * It starts with the first write after the open: a gateway without cursors needs none.
 */
import { assert, present } from '../../base/assert.ts'
import { Deque } from '../../base/deque.ts'
import { SluiceError } from '../../base/errors.ts'
import { type RunningWorker, startWorker } from '../../base/worker.ts'
import type { Document } from '../state.ts'
import type {
  DocumentQuery,
  FromStateThread,
  ReserveState,
  StateOp,
  StateThreadOptions,
  ToStateThread,
} from './protocol.ts'
import type { StateSink } from './sink.ts'

interface Waiting {
  readonly resolve: (documents: readonly Document[]) => void
  readonly reject: (cause: Error) => void
}

const NO_DOCUMENTS: readonly Document[] = []

export class StateThread implements StateSink {
  reserveState: ReserveState
  private readonly options: StateThreadOptions
  private readonly waiting = new Deque<Waiting>()
  private running: RunningWorker | undefined
  private closing = false

  constructor(options: StateThreadOptions, reserveState: ReserveState) {
    this.options = options
    this.reserveState = reserveState
  }

  async write(ops: readonly StateOp[]): Promise<void> {
    await this.ask({ kind: 'write', ops })
  }

  read(query: DocumentQuery): Promise<readonly Document[]> {
    return this.ask({ kind: 'read', query })
  }

  async close(): Promise<void> {
    if (!this.closing) {
      this.running?.expectExit()
      this.running?.worker.postMessage({ kind: 'close' } satisfies ToStateThread)
    }
    this.closing = true
    await this.running?.ended()
  }

  private ask(question: ToStateThread): Promise<readonly Document[]> {
    assert(!this.closing, 'the state is used before it is closed')
    this.running ??= this.start()
    const { worker } = this.running
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      worker.postMessage(question)
    })
  }

  private start(): RunningWorker {
    const running = startWorker(new URL('./worker.ts', import.meta.url), this.options, 'log state')
    running.worker.on('message', (answer: FromStateThread) => this.answered(answer))
    return running
  }

  private answered(answer: FromStateThread): void {
    this.reserveState = answer.reserve
    const count = answer.kind === 'read' ? 1 : answer.count
    for (let i = 0; i < count; i++) {
      const { resolve, reject } = present(this.waiting.shift(), 'who waits for the state')
      if (answer.kind === 'read') resolve(answer.rows)
      else if (answer.kind === 'written') resolve(NO_DOCUMENTS)
      else reject(new SluiceError('storage', answer.message))
    }
  }
}
