/** A child process of the demo: started, listened to, and ended by its own handle. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** What is kept of stderr, to be shown when the child fails. */
const lastWordsMax = 4_096

export class Child {
  readonly name: string
  /** Resolves with a sentence when the process is gone; the sentence is empty after a good end. */
  readonly ended: Promise<string>
  private readonly process: ChildProcessByStdio<null, Readable, Readable>
  private words = ''
  private gone = false
  private stopping = false

  /**
   * Starts `command`. The child gets a process group of its own: Ctrl-C then reaches the demo
   * alone, which ends its children in the right order.
   */
  constructor(name: string, command: readonly string[], onLine: (line: string) => void) {
    const [file = '', ...args] = command
    this.name = name
    this.process = spawn(file, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.words = (this.words + text).slice(-lastWordsMax)
    })
    const lines = createInterface({ input: this.process.stdout })
    lines.on('line', onLine)
    const drained = new Promise<void>((resolve) => lines.once('close', resolve))
    this.ended = new Promise((resolve) => {
      this.process.once('error', (error) => this.end(resolve, `could not start: ${error.message}`))
      this.process.once('close', (code, signal) => {
        const asked = this.stopping && (signal === 'SIGTERM' || signal === 'SIGINT')
        const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`
        void drained.then(() => this.end(resolve, code === 0 || asked ? '' : how))
      })
    })
  }

  get running(): boolean {
    return !this.gone
  }

  /** Asks the process to end, makes it after `graceMs`; resolves with the sentence of `ended`. */
  async stop(graceMs: number): Promise<string> {
    this.stopping = true
    this.process.kill('SIGTERM')
    const timer = setTimeout(() => this.process.kill('SIGKILL'), graceMs)
    const sentence = await this.ended
    clearTimeout(timer)
    return sentence
  }

  /** Ends the process without waiting: for a demo that itself is ending at once. */
  kill(): void {
    if (this.running) this.process.kill('SIGKILL')
  }

  private end(resolve: (sentence: string) => void, how: string): void {
    this.gone = true
    const words = this.words.trim()
    if (how === '') resolve('')
    else resolve(`the ${this.name} ${how}${words === '' ? '' : `; it said:\n${words}`}`)
  }
}
