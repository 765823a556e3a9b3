/**
 * R1 and R2 with a real gateway that is killed, again and again, on one data directory: what is
 * retained afterwards is what was acknowledged last. SLUICE_RETAINED_ROUNDS makes it longer.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { type GatewayOptions, startGateway } from '../../support/gateway-process.ts'
import { RawClient } from '../../support/raw-client.ts'
import { tempDir } from '../../support/temp-dir.ts'

const ROUNDS = Number(process.env['SLUICE_RETAINED_ROUNDS'] ?? 3)
const SEED = Number(process.env['SLUICE_SEED'] ?? Math.floor(performance.now() * 1000))
const TOPICS = 60

async function gateway(options: GatewayOptions) {
  const started = await startGateway(options)
  onTestFinished(() => started.dispose())
  return started
}

/** What a new subscriber to everything gets, by topic. */
async function retainedOf(port: number): Promise<Map<string, string>> {
  const client = await RawClient.connect(port, { version: 5 })
  await client.subscribe('r/#', 1)
  // A live message that was kept after the subscription comes behind what was retained before.
  client.publish('end', '')
  await client.subscribe('end', 0)
  client.publish('end', 'x', { qos: 1, messageId: 1 })
  await client.until(() => client.payloads.includes('x'), 'the message behind the retained ones')
  await wait(100)
  const own = client.publishes.filter(({ topic }) => topic !== 'end')
  client.end()
  return new Map(own.map(({ topic, payload }) => [topic, payload.toString()]))
}

/** Sets and clears topics at random; what a topic may have is known from the acknowledgements. */
class Retainer {
  /** By topic: the last acknowledged value, and what was sent after it. */
  readonly possible = new Map<string, string[]>()
  private readonly random: SeededRandom
  private serial = 0

  constructor(random: SeededRandom) {
    this.random = random
  }

  send(client: RawClient, count: number): void {
    for (let i = 0; i < count; i++) {
      const topic = `r/${this.random.below(6)}/${this.random.below(TOPICS / 6)}`
      const payload = this.random.oneIn(4) ? '' : `${++this.serial} ${'x'.repeat(200)}`
      const messageId = (this.sent.length % 65_535) + 1
      this.sent.push([topic, payload])
      client.publish(topic, payload, { qos: 1, messageId, retain: true })
    }
  }

  /** The first `acked` of what was sent on this connection are kept, of the rest nobody knows. */
  acknowledged(acked: number): void {
    for (const [topic, payload] of this.sent.slice(0, acked)) this.possible.set(topic, [payload])
    for (const [topic, payload] of this.sent.slice(acked)) {
      this.possible.set(topic, [...(this.possible.get(topic) ?? ['']), payload])
    }
    this.sent.length = 0
  }

  /** What the gateway says is what there is from now on. */
  check(retained: ReadonlyMap<string, string>): void {
    for (const [topic, values] of this.possible) {
      expect(values, `${topic}, seed ${SEED}`).toContain(retained.get(topic) ?? '')
      this.possible.set(topic, [retained.get(topic) ?? ''])
    }
    for (const topic of retained.keys()) expect([...this.possible.keys()]).toContain(topic)
  }

  private readonly sent: [string, string][] = []
}

describe('retained messages of a gateway that dies', () => {
  it('R1, R2: are those that were acknowledged last, however often it dies', async () => {
    const random = new SeededRandom(SEED)
    const retainer = new Retainer(random)
    const dataDir = tempDir()
    for (let round = 0; round < ROUNDS; round++) {
      const running = await gateway({ dataDir })
      retainer.check(await retainedOf(running.mqttPort))
      const client = await RawClient.connect(running.mqttPort)
      const count = 200 + random.below(800)
      retainer.send(client, count)
      await client.until(() => client.of('puback').length >= random.below(count), 'some acks')
      await running.kill()
      await client.closing()
      retainer.acknowledged(client.of('puback').length)
    }
    const last = await gateway({ dataDir })
    retainer.check(await retainedOf(last.mqttPort))
    await last.stop()
    // Written by the stop: nothing of the log need be read.
    const again = await gateway({ dataDir })
    retainer.check(await retainedOf(again.mqttPort))
  })

  it('outlive the segments that their records were in', async () => {
    const dataDir = tempDir()
    const config = [
      '[disk]\nsegment = "1MiB"\nmin_free = "1MiB"',
      '[[stream]]\nname = "s"\ntopics = ["#"]\nretention = { size = "2MiB" }',
    ].join('\n')
    const first = await gateway({ dataDir, config })
    const client = await RawClient.connect(first.mqttPort)
    client.publish('r/old', 'still there', { qos: 1, messageId: 1, retain: true })
    await client.packet('puback')
    const filler = Buffer.alloc(100_000)
    for (let i = 0; i < 80; i++) {
      client.publish('filler', filler, { qos: 1, messageId: i + 2 })
      await client.packet('puback', i + 1)
    }
    await first.stop()
    const second = await gateway({ dataDir, config })
    expect([...(await retainedOf(second.mqttPort))]).toEqual([['r/old', 'still there']])
    const metrics = await (await fetch(`http://127.0.0.1:${second.httpPort}/metrics`)).text()
    expect(metrics).toMatch(/^sluice_stream_first_position\{stream="s"\} [1-9]/m)
  })
})
