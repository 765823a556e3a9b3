/** Builds the load generator `load.c` and runs it. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { messageOf } from '../../src/base/errors.ts'
import { run } from './children.ts'

const SOURCE = fileURLToPath(new URL('./load.c', import.meta.url))

/** The options of `load.c` by the same names; what is left out has the default of `load.c`. */
export interface LoadOptions {
  readonly port: number
  /** 4 is MQTT 3.1.1. */
  readonly mqtt?: 4 | 5
  readonly publishers?: number
  /** Messages a publisher may have in flight. */
  readonly window?: number
  readonly qos?: 0 | 1 | 2
  /** Of a payload, in bytes. */
  readonly size?: number
  /** Over all publishers. */
  readonly messages?: number
  /** Messages per second over all publishers; without it as fast as the window allows. */
  readonly rate?: number
  readonly subscribers?: number
  readonly subQos?: 0 | 1 | 2
  /** Subscribers that never read. */
  readonly stall?: number
  /** Connections that do nothing. */
  readonly idle?: number
}

const quantiles = z.object({ p50: z.number(), p99: z.number(), p999: z.number(), max: z.number() })

const loadResult = z.object({
  /** Every message was acknowledged and every delivery arrived. */
  complete: z.boolean(),
  connections: z.number(),
  /** From the first connect() to the last CONNACK. */
  connectSeconds: z.number(),
  /** Connections the broker closed. */
  closed: z.number(),
  sent: z.number(),
  acknowledged: z.number(),
  received: z.number(),
  /** How often a subscriber missed messages of a publisher, and how often it got an older one. */
  holes: z.number(),
  repeats: z.number(),
  ackedPerSecond: z.number(),
  /** Deliveries over all subscribers. */
  receivedPerSecond: z.number(),
  /** How far behind the set rate a message left at worst. */
  latestMs: z.number(),
  ackMs: quantiles.nullable(),
  deliveryMs: quantiles.nullable(),
  /** What the generator itself burnt. */
  cpuSeconds: z.number(),
})

export type LoadResult = z.infer<typeof loadResult>

export class LoadGenerator {
  private readonly program: string

  private constructor(program: string) {
    this.program = program
  }

  /** Compiles into `folder` with `cc`, which building better-sqlite3 needs as well. */
  static async build(folder: string): Promise<LoadGenerator> {
    const program = path.join(folder, 'load')
    try {
      await run('cc', ['-O2', '-Wall', '-Wextra', '-o', program, SOURCE])
    } catch (error) {
      const advice = 'Install a C compiler (Debian: apt install gcc libc6-dev).'
      throw new Error(`the load generator cannot be built. ${advice}\n${messageOf(error)}`, {
        cause: error,
      })
    }
    return new LoadGenerator(program)
  }

  /** Rejects when the broker refuses a connection, a subscription, or breaks the protocol. */
  async run(options: LoadOptions): Promise<LoadResult> {
    return parse(await run(this.program, flags(options)))
  }

  /** Opens what `options` ask for and holds it while `measure` runs, before any publishing. */
  async hold<T>(options: LoadOptions, measure: () => Promise<T>): Promise<[LoadResult, T]> {
    let measured: Promise<T> | undefined
    const output = await run(this.program, [...flags(options), '--hold'], {
      onStderr: (text, child) => {
        if (measured !== undefined || !text.includes('holding\n')) return
        measured = measure().finally(() => child.stdin?.end())
        // Awaited below, once the generator has ended; until then it is not unhandled.
        measured.catch(() => undefined)
      },
    })
    if (measured === undefined) throw new Error('the load generator held no connections')
    return [parse(output), await measured]
  }
}

function flags(options: LoadOptions): string[] {
  return Object.entries(options).flatMap(([name, value]) => [
    `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(value),
  ])
}

function parse(output: string): LoadResult {
  return loadResult.parse(JSON.parse(output))
}
