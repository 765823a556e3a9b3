/**
 * The reader thread as the main thread sees it. Questions are answered one after the other, in
 * order. The thread is started with the first question: a gateway whose consumers all keep up
 * reads nothing back, and a thread costs about 10 MiB.
 */
import { assert, present } from '../../base/assert.ts'
import { Deque } from '../../base/deque.ts'
import { type RunningWorker, startWorker } from '../../base/worker.ts'
import { asWritten, type Boots } from '../clock/time-of.ts'
import type { Position, ReadQuery, RecordPage, Start, StreamBounds } from '../log.ts'
import { unpackPage } from './page.ts'
import { type FromReader, failureOf, type ReaderOptions, type ToReader } from './protocol.ts'

interface Waiting {
  readonly resolve: (answer: FromReader) => void
  readonly reject: (cause: Error) => void
}

export class ReaderThread {
  private readonly options: ReaderOptions
  private readonly boots: () => Boots
  /** Of this boot, as the thread has it; the rows of other boots do not change any more. */
  private sentRow: unknown = 'nothing yet'
  private readonly boot: number
  private readonly waiting = new Deque<Waiting>()
  private running: RunningWorker | undefined
  private closing = false

  /** `boots` as they are now; of them only the row of `boot` may be replaced. */
  constructor(dataDir: string, boots: () => Boots = asWritten, boot = 0) {
    this.options = { dataDir }
    this.boots = boots
    this.boot = boot
  }

  /** A page of [query.from, end): what is on disk beyond `end` was not told as kept yet. */
  async read(query: ReadQuery, end: Position): Promise<RecordPage> {
    const answer = await this.ask({ kind: 'read', query, end })
    assert(answer.kind === 'page', `a read is answered by a page, not by ${answer.kind}`)
    return unpackPage(query.stream, answer.page, this.boots())
  }

  async locate(stream: string, start: Start): Promise<Position> {
    const answer = await this.ask({ kind: 'locate', stream, start })
    assert(answer.kind === 'located', `locate is answered by a position, not by ${answer.kind}`)
    return answer.position
  }

  async bounds(stream: string): Promise<StreamBounds> {
    const answer = await this.ask({ kind: 'bounds', stream })
    assert(answer.kind === 'bounds', `bounds are answered by bounds, not by ${answer.kind}`)
    return answer.bounds
  }

  /** Lets go of deleted segments; a thread that does not run holds none. */
  forgetRemoved(): void {
    if (this.closing) return
    this.running?.worker.postMessage({ kind: 'forget-removed' } satisfies ToReader)
  }

  /** Answers what was asked before, then ends the thread. Nothing may be asked afterwards. */
  async close(): Promise<void> {
    if (!this.closing) this.running?.worker.postMessage({ kind: 'close' } satisfies ToReader)
    this.closing = true
    await this.running?.ended()
  }

  private ask(question: ToReader): Promise<FromReader> {
    assert(!this.closing, 'the reader thread is asked before it is closed')
    this.running ??= this.start()
    const { worker } = this.running
    if (question.kind !== 'read') this.tellBoots(worker)
    return new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      worker.postMessage(question)
    })
  }

  private tellBoots(worker: RunningWorker['worker']): void {
    const boots = this.boots()
    const row = boots.get(this.boot)
    if (row === this.sentRow) return
    this.sentRow = row
    worker.postMessage({ kind: 'boots', boots } satisfies ToReader)
  }

  private start(): RunningWorker {
    const url = new URL('./worker.ts', import.meta.url)
    const running = startWorker(url, this.options, 'log reader')
    running.worker.on('message', (answer: FromReader) => {
      const { resolve, reject } = present(this.waiting.shift(), 'who waits for the answer')
      if (answer.kind === 'failed') reject(failureOf(answer))
      else resolve(answer)
    })
    return running
  }
}
