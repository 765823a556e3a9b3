import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'

/** Enough for threads whose data lives outside the JavaScript heap; idle memory is a promise. */
const HEAP_LIMITS_MB = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 }

/**
 * Starts a thread from a module of this package. `module` is written with the source's ending
 * (`new URL('./worker.ts', import.meta.url)`): built code runs the `.js` beside it, and code that
 * runs from source (the test runner) takes the built file of the same name, because a bare thread
 * has no loader for TypeScript. So tests need a build first, which `npm test` does.
 *
 * A thread that fails or leaves on its own is a bug: the error ends the process with its cause,
 * because nobody waits for what the thread was to do. `expectExit` says that it may leave now.
 */
export function startWorker(module: URL, workerData: unknown, name: string): RunningWorker {
  return new RunningWorker(builtModule(module), workerData, name)
}

export class RunningWorker {
  readonly worker: Worker
  private readonly exited: Promise<void>
  private leaving = false

  constructor(module: URL, workerData: unknown, name: string) {
    this.worker = new Worker(module, { workerData, name, resourceLimits: HEAP_LIMITS_MB })
    this.exited = new Promise((resolve) => {
      this.worker.once('exit', (code) => {
        resolve()
        if (!this.leaving) throw new Error(`the ${name} thread ended with code ${code}`)
      })
    })
    this.worker.once('error', (cause) => {
      this.leaving = true
      throw new Error(`the ${name} thread failed`, { cause })
    })
  }

  /** From here on the thread may end by itself. */
  expectExit(): void {
    this.leaving = true
  }

  /** Resolves when the thread is gone; expects it to end by itself. */
  async ended(): Promise<void> {
    this.leaving = true
    await this.exited
  }

  /** Ends the thread where it stands: only for threads that hold nothing open. */
  async stop(): Promise<void> {
    this.leaving = true
    await this.worker.terminate()
  }
}

/** The file that a thread can run: beside the caller when built, else under dist/. */
function builtModule(module: URL): URL {
  const file = fileURLToPath(module)
  const built = file.replace(/\.ts$/, '.js')
  if (import.meta.url.endsWith('.js')) return pathToFileURL(built)
  const at = built.lastIndexOf('/src/')
  return pathToFileURL(`${built.slice(0, at)}/dist/${built.slice(at + '/src/'.length)}`)
}
