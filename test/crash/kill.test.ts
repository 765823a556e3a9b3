/**
 * G1, L4 against `kill -9`: rounds of random load that end at a random moment, each followed by an
 * audit of what the dead process left, and by a start on it.
 *
 * A round dies once so many messages are acknowledged; some time later, whatever it does then; or
 * at a fail point. SLUICE_KILL_ROUNDS asks for more rounds, SLUICE_SEED for others,
 * SLUICE_KILL_SECONDS ends the rounds after that time.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { gatewayConfig } from '../support/gateway-config.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { Audit, audit } from './audit.ts'
import { dyingAt, GATEWAY_POINTS } from './fail-points.ts'
import { NumberedPublisher } from './load.ts'

const ROUNDS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 20)
const SECONDS_MAX = Number(process.env['SLUICE_KILL_SECONDS'] ?? Number.POSITIVE_INFINITY)
/** As many as one data directory gets, so that an audit of the whole of it stays short. */
const ROUNDS_OF_A_DIRECTORY = 50
/** The points that a gateway without retention passes. */
const POINTS = GATEWAY_POINTS.filter((name) => /^(roll|prepare|seal|checkpoint)/.test(name))

/**
 * Mostly small segments, so that rounds also die while segments are sealed and made; in larger ones
 * the WAL grows until the keeper moves it.
 */
const config = (segment: string): string =>
  gatewayConfig({ segment }, [
    { name: 'plant', settings: { partitions: 4, key: 'topic' } },
    { name: 'rest', settings: { partitions: 2, key: 'client', ack_after: 'write' } },
  ])

type End =
  | { readonly kind: 'acknowledged' }
  | { readonly kind: 'later'; readonly delayMs: number }
  | { readonly kind: 'point'; readonly point: string; readonly pass: number }

/** What a round does; a point is passed only where records are large and many. */
interface Plan {
  readonly end: End
  readonly config: string
  readonly messages: number
  readonly paddings: readonly number[]
}

describe('L4: kill -9 under load', () => {
  it(
    `loses nothing that was acknowledged, ${ROUNDS} times in a row`,
    async () => {
      const random = new SeededRandom(Number(process.env['SLUICE_SEED'] ?? 4711))
      const until = performance.now() + SECONDS_MAX * 1000
      const figures = new Map<string, number>()
      let rounds = 0
      while (rounds < ROUNDS && performance.now() < until) {
        const life = new Life(random, figures)
        for (let i = 0; i < ROUNDS_OF_A_DIRECTORY && rounds < ROUNDS; i++) {
          if (performance.now() >= until) break
          rounds++
          await life.round(`round ${rounds}, seed ${random.seed}`)
        }
        life.finish(`after round ${rounds}, seed ${random.seed}`)
      }
      const told = [...figures].map(([what, count]) => `${count} ${what}`).join(', ')
      process.stdout.write(`kill -9: ${rounds} rounds, ${told}, 0 lost (seed ${random.seed})\n`)
    },
    180_000 + ROUNDS * 5000,
  )
})

/** The rounds of one data directory. */
class Life {
  private readonly random: SeededRandom
  private readonly figures: Map<string, number>
  private readonly publishers = [
    new NumberedPublisher('p1', 'plant/a', 1),
    new NumberedPublisher('p2', 'plant/b', 2),
    new NumberedPublisher('p3', 'rest/c', 1),
    new NumberedPublisher('p4', 'plant/d', 1),
    new NumberedPublisher('p5', 'rest/e', 2),
  ]
  private readonly looks = new Audit(this.publishers)
  private readonly folder = mkdtempSync(path.join(tmpdir(), 'sluice-kill-'))
  private readonly dataDir = path.join(this.folder, 'data')

  constructor(random: SeededRandom, figures: Map<string, number>) {
    this.random = random
    this.figures = figures
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true }))
  }

  async round(about: string): Promise<void> {
    const plan = planOf(this.random)
    const before = total(this.publishers)
    const gateway = await this.start(plan)
    if (gateway === undefined) this.count('died in their start', 1)
    else await this.load(gateway, plan)
    await gateway?.dispose()
    const { faults } = this.looks.look(this.dataDir)
    expect(faults, `${about}, ${JSON.stringify(plan.end)}`).toEqual([])
    this.count('messages acknowledged', total(this.publishers) - before)
  }

  /** Undefined: it passed its fail point before it was ready. */
  private async start({ end, config }: Plan): Promise<GatewayProcess | undefined> {
    const { dataDir } = this
    if (end.kind !== 'point') return await startGateway({ config, dataDir })
    try {
      return await startGateway({ config, dataDir, ...dyingAt(end.point, end.pass) })
    } catch (thrown) {
      if (!String(thrown).includes('the gateway ended with code null')) throw thrown
      return undefined
    }
  }

  /** Once more from the first record on: nothing that was there is gone. */
  finish(about: string): void {
    const { records, faults } = audit(this.dataDir, this.publishers)
    expect(faults, about).toEqual([])
    expect(records, about).toBeGreaterThanOrEqual(total(this.publishers))
    this.count('records audited', records)
    rmSync(this.folder, { recursive: true, force: true })
  }

  private async load(gateway: GatewayProcess, { end, messages, paddings }: Plan): Promise<void> {
    const { random } = this
    const target = total(this.publishers) + messages
    const busy = this.publishers.filter(() => random.below(3) > 0)
    const runs = (busy.length > 0 ? busy : this.publishers).map((publisher) => {
      publisher.pad(random.pick(paddings))
      return publisher.run(gateway.mqttPort).catch(() => undefined)
    })
    let dead = false
    const exited = gateway.exited.then(() => {
      dead = true
    })
    await reached(this.publishers, target, () => dead)
    if (dead) this.count('died at a fail point', 1)
    if (end.kind === 'later') await wait(end.delayMs)
    await gateway.kill()
    await Promise.all([exited, ...runs])
  }

  private count(what: string, more: number): void {
    this.figures.set(what, (this.figures.get(what) ?? 0) + more)
  }
}

function planOf(random: SeededRandom): Plan {
  const small = config('1MiB')
  const messages = 100 + random.below(random.oneIn(4) ? 4000 : 800)
  const usual = { config: small, messages, paddings: [0, 0, 200, 3000] }
  switch (random.below(3)) {
    case 0:
      return { ...usual, end: { kind: 'acknowledged' } }
    case 1:
      return { ...usual, end: { kind: 'later', delayMs: random.below(60) } }
    default: {
      const point = random.pick(POINTS)
      const isCheckpoint = point.startsWith('checkpoint')
      return {
        end: { kind: 'point', point, pass: 1 + random.below(isCheckpoint ? 1 : 3) },
        config: isCheckpoint ? config('32MiB') : small,
        messages: 3500,
        paddings: [3000, 6000],
      }
    }
  }
}

const total = (publishers: readonly NumberedPublisher[]) =>
  publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)

/** Resolves in the turn in which so many are acknowledged, or `given` up. */
function reached(
  publishers: readonly NumberedPublisher[],
  target: number,
  given: () => boolean,
): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (given() || total(publishers) >= target) resolve()
      else setImmediate(look)
    }
    look()
  })
}
