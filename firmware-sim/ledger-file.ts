/** The file of a run's ledger, for a run that keeps one. */
import type { Ledger } from './ledger.ts'
import type { Time } from './time.ts'

/** A simulator that is killed leaves a ledger that is at most so old. */
const periodMs = 5_000

export class LedgerFile {
  private readonly ledger: Ledger
  private readonly file: string | undefined
  private readonly seed: number
  private readonly time: Time

  /** `file` undefined: nothing is kept. */
  constructor(ledger: Ledger, file: string | undefined, seed: number, time: Time) {
    this.ledger = ledger
    this.file = file
    this.seed = seed
    this.time = time
  }

  /** On disk when it resolves; rejects with the system's error. */
  async write(): Promise<void> {
    if (this.file === undefined) return
    const about = { seed: this.seed, writtenMs: Math.floor(this.time.nowMs()) }
    await this.ledger.write(this.file, about)
  }

  /** Writes it now and then until `signal` aborts. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.time.sleep(periodMs, signal)
      if (!signal.aborted) await this.write()
    }
  }
}
