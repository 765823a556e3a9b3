/** The store's writes, and what an operator hears of them: once a change, never once a write. */
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { StateOp } from './protocol.ts'
import type { StateSink } from './sink.ts'

export class Writes {
  /** Why the last write failed; undefined while they work. */
  failure: string | undefined
  private readonly sink: StateSink
  private readonly logger: Logger | undefined
  private wasSpent = false

  constructor(sink: StateSink, logger: Logger | undefined) {
    this.sink = sink
    this.logger = logger
  }

  async write(ops: readonly StateOp[]): Promise<void> {
    if (ops.length === 0) return
    try {
      await this.sink.write(ops)
      if (this.failure !== undefined) this.logger?.info({}, 'the state is written again')
      this.failure = undefined
    } catch (thrown) {
      if (this.failure === undefined) {
        const reason = messageOf(thrown)
        this.logger?.error({ reason }, 'the state cannot be written: it is tried again')
      }
      this.failure = messageOf(thrown)
      throw thrown
    } finally {
      this.watchReserve()
    }
  }

  close(): Promise<void> {
    return this.sink.close()
  }

  private watchReserve(): void {
    const isSpent = this.sink.reserveState === 'spent'
    if (isSpent && !this.wasSpent) {
      this.logger?.warn({}, 'the disk is full: the state uses the space that was kept for it')
    }
    if (!isSpent && this.wasSpent) {
      this.logger?.info({}, 'space for the state on a full disk is kept again')
    }
    this.wasSpent = isSpent
  }
}
