/** From the devices to a consumer group of two, one of whose members comes and goes. */
import { createWriteStream } from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { everyProfile, lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

const FILTER = '$share/analytics/$stream/telemetry'

/** Writes down what it is given before it acknowledges it, as a consumer that counts does. */
class Consumer {
  readonly file: string
  written = 0
  private readonly url: string
  private readonly name: string
  private client: MqttClient | undefined
  private readonly output

  constructor(folder: string, name: string, port: number) {
    this.file = path.join(folder, `${name}.jsonl`)
    this.output = createWriteStream(this.file)
    this.url = `mqtt://127.0.0.1:${port}`
    this.name = name
    onTestFinished(() => {
      this.client?.end(true)
    })
  }

  async join(): Promise<void> {
    const client = mqtt.connect(this.url, { protocolVersion: 5, clientId: this.name })
    this.client = client
    client.handleMessage = (packet, done) => {
      const { topic, payload } = packet
      const bytes = Buffer.from(payload)
      this.written += 1
      const line = JSON.stringify({ topic, payload_base64: bytes.toString('base64') })
      this.output.write(`${line}\n`, () => done())
    }
    const properties = { userProperties: { 'stream-offset': 'earliest' } }
    await client.subscribeAsync(FILTER, { qos: 1, properties })
  }

  /** Without a word: what was under way goes to the other one. */
  leave(): void {
    this.client?.end(true)
  }

  async close(): Promise<void> {
    this.leave()
    await new Promise((resolve) => this.output.end(resolve))
  }
}

it(
  'gives every reading to one of the members, in the order of its device',
  async () => {
    const site = await Site.open(everyProfile(60, 10))
    const [steady, fickle] = ['steady', 'fickle'].map(
      (name) => new Consumer(site.folder, name, site.port),
    ) as [Consumer, Consumer]
    await steady.join()
    await site.live(async () => {
      for (let turn = 0; turn < 2; turn += 1) {
        await fickle.join()
        await wait((SECONDS * 1_000) / 3)
        fickle.leave()
        await wait((SECONDS * 1_000) / 8)
      }
    })
    await site.drain()
    const written = (): number => steady.written + fickle.written
    await expect
      .poll(
        async () => {
          const before = written()
          await wait(400)
          return written() - before
        },
        { timeout: 20_000 },
      )
      .toBe(0)
    await Promise.all([steady.close(), fickle.close()])
    await site.gateway.stop()
    const cursors = ['group/analytics/']
    const files = [steady.file, fickle.file]
    const farEnd = { name: 'consumed', files, cursors, streams: ['telemetry'] }
    const result = await site.audit([farEnd])
    tell('consumer group', result, `, ${fickle.written} of them by the fickle member`)
    expect(fickle.written).toBeGreaterThan(0)
    expect(lostOf(result)).toEqual({ logged: 0, consumed: 0 })
    expect(result.stages.map(({ outOfOrder }) => outOfOrder)).toEqual([0, 0])
    expect(result.stages.map(({ explained }) => explained)).toEqual([0, 0])
  },
  TIMEOUT_MS,
)
