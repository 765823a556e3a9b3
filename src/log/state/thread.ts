/**
 * The state thread as the main thread sees it: no sync of `state.db` ever holds up the event loop.
 * It starts with the first write after the open: a gateway without cursors needs none.
 */
import { assert, present } from '../../base/assert.ts'
import { Deque } from '../../base/deque.ts'
import { SluiceError } from '../../base/errors.ts'
import { type RunningWorker, startWorker } from '../../base/worker.ts'
import type {
  FromStateThread,
  ReserveState,
  StateOp,
  StateThreadOptions,
  ToStateThread,
} from './protocol.ts'
import type { StateSink } from './sink.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (cause: Error) => void
}

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

  write(ops: readonly StateOp[]): Promise<void> {
    assert(!this.closing, 'the state is written before it is closed')
    this.running ??= this.start()
    const { worker } = this.running
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      worker.postMessage({ kind: 'write', ops } satisfies ToStateThread)
    })
  }

  async close(): Promise<void> {
    if (!this.closing) {
      this.running?.expectExit()
      this.running?.worker.postMessage({ kind: 'close' } satisfies ToStateThread)
    }
    this.closing = true
    await this.running?.ended()
  }

  private start(): RunningWorker {
    const running = startWorker(new URL('./worker.ts', import.meta.url), this.options, 'log state')
    running.worker.on('message', (answer: FromStateThread) => this.answered(answer))
    return running
  }

  private answered(answer: FromStateThread): void {
    this.reserveState = answer.reserve
    for (let i = 0; i < answer.count; i++) {
      const { resolve, reject } = present(this.waiting.shift(), 'who waits for the state')
      if (answer.kind === 'written') resolve()
      else reject(new SluiceError('storage', answer.message))
    }
  }
}
