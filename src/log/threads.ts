/** The main thread's ends of the writer and the keeper. */
import { assert, present } from '../base/assert.ts'
import { Deque } from '../base/deque.ts'
import { SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type RunningWorker, startWorker } from '../base/worker.ts'
import type { FromKeeper, KeeperAnswer, KeeperOptions, ToKeeper } from './keeper/protocol.ts'
import type { FolderSurvey } from './keeper/survey.ts'
import type { FoundRepair } from './repair/find.ts'
import type {
  FromWriter,
  KeeperOrder,
  NotOpened,
  StreamEnd,
  ToWriter,
  WriterOptions,
} from './writer/protocol.ts'

export type WriterReport = Extract<FromWriter, { kind: 'report' }>

interface Asked {
  readonly resolve: (answer: KeeperAnswer) => void
  readonly reject: (cause: Error) => void
}

/**
 * The writer thread, and the keeper thread behind it, which starts with its first order: most
 * small gateways never fill half a segment between two starts, and a thread costs memory.
 */
export class WriterThread {
  /** Set by the log before the first message can come. */
  onReport: (report: WriterReport) => void = () => assert(false, 'nobody listens to the writer')
  private readonly thread: RunningWorker
  private readonly logger: Logger | undefined
  private readonly keeperOptions: KeeperOptions
  private keeper: RunningWorker | undefined
  /** Who waits for the keeper's answers, in the order of the questions. */
  private readonly asked = new Deque<Asked>()
  private closing = false
  private readonly opened: Promise<readonly (StreamEnd | NotOpened | undefined)[]>
  private readonly closed: Promise<void>

  constructor(options: WriterOptions, logger: Logger | undefined) {
    this.logger = logger
    this.keeperOptions = {
      dataDir: options.dataDir,
      streams: options.streams.map((stream) => stream.name),
    }
    this.thread = startWorker(new URL('./writer/worker.ts', import.meta.url), options, 'log writer')
    let nowClosed = (): void => assert(false, 'closed before it was opened')
    this.closed = new Promise((resolve) => {
      nowClosed = resolve
    })
    this.opened = new Promise((resolve, reject) => {
      this.thread.worker.on('message', (message: FromWriter) => {
        if (message.kind === 'report') this.report(message)
        else if (message.kind === 'opened') resolve(message.streams)
        else if (message.kind === 'closed') nowClosed()
        else {
          this.thread.expectExit()
          reject(new SluiceError(message.code, message.message))
        }
      })
    })
  }

  /** Where each stream stands, or why it cannot be opened. Rejects with `format-unknown`. */
  async open(): Promise<readonly (StreamEnd | NotOpened | undefined)[]> {
    return this.opened
  }

  post(message: ToWriter): void {
    this.thread.worker.postMessage(message)
  }

  /**
   * Commits and reports what is open, then ends both threads. What the keeper was asked before is
   * answered; whatever it is asked afterwards is rejected.
   */
  async close(): Promise<void> {
    this.closing = true
    this.thread.expectExit()
    this.post({ kind: 'close' })
    // A writer that could not open its streams has left by itself.
    await Promise.race([this.closed, this.thread.ended()])
    await this.thread.ended()
    if (this.keeper === undefined) return
    this.keeper.expectExit()
    this.toKeeper({ kind: 'close' })
    await this.keeper.ended()
    for (let asked = this.asked.shift(); asked; asked = this.asked.shift()) asked.reject(closed())
  }

  /** The facts of the finished segments, by the log's order of streams. */
  async survey(): Promise<readonly FolderSurvey[]> {
    const answer = await this.ask({ kind: 'survey' })
    assert(answer.kind === 'surveyed', `a survey is answered by one, not by ${answer.kind}`)
    return answer.streams
  }

  /** Deletes a stream's oldest segment; resolves with why it could not. */
  async remove(stream: number, file: string): Promise<string | undefined> {
    const answer = await this.ask({ kind: 'remove', stream, file })
    assert(answer.kind === 'removed', `a removal is answered by one, not by ${answer.kind}`)
    return answer.failure
  }

  /** Sets a damaged segment aside, salvages it, and puts a sound one in its place. */
  async repair(stream: number, file: string): Promise<FoundRepair> {
    const answer = await this.ask({ kind: 'repair', stream, file })
    assert(answer.kind === 'repair', `a repair is answered by one, not by ${answer.kind}`)
    return answer.found
  }

  private ask(question: ToKeeper): Promise<KeeperAnswer> {
    if (this.closing) return Promise.reject(closed())
    this.keeper ??= this.startKeeper()
    return new Promise((resolve, reject) => {
      this.asked.push({ resolve, reject })
      this.toKeeper(question)
    })
  }

  private report(report: WriterReport): void {
    for (const order of report.orders) this.order(order)
    this.onReport(report)
  }

  private order(order: KeeperOrder): void {
    this.keeper ??= this.startKeeper()
    this.toKeeper(order)
  }

  private toKeeper(message: ToKeeper): void {
    this.keeper?.worker.postMessage(message)
  }

  private startKeeper(): RunningWorker {
    const module = new URL('./keeper/worker.ts', import.meta.url)
    const keeper = startWorker(module, this.keeperOptions, 'log keeper')
    keeper.worker.on('message', (message: FromKeeper) => this.fromKeeper(message))
    return keeper
  }

  private fromKeeper(message: FromKeeper): void {
    switch (message.kind) {
      case 'holding':
        this.post({ kind: 'release', stream: message.stream, file: message.file })
        break
      case 'checkpointed':
        this.post(message)
        break
      case 'trouble': {
        const stream = this.keeperOptions.streams[message.stream]
        this.logger?.warn({ stream }, message.sentence)
        break
      }
      case 'surveyed':
      case 'removed':
      case 'repair':
        present(this.asked.shift(), 'who waits for the answer').resolve(message)
        break
      case 'sealed':
      case 'closed':
        break
      default:
        message satisfies never
    }
  }
}

function closed(): SluiceError {
  return new SluiceError('log-closed', 'the log was closed: its files are left as they are')
}
