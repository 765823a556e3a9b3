/** Groups, queues and redrive of a gateway as a process, and replays to Debian's clients. */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { RawClient } from '../support/raw-client.ts'
import { runSluice } from '../support/sluice.ts'

const run = promisify(execFile)
const mosquitto = spawnSync('sh', ['-c', 'command -v mosquitto_pub mosquitto_sub']).status === 0

const CONFIG = `
[[stream]]
name = "telemetry"
topics = ["devices/+/telemetry/#"]
partitions = 8
key = "topic"

[[stream]]
name = "dead"
topics = []

[[queue]]
name = "jobs"
topics = ["jobs/#"]
max_deliveries = 1
dead_letter = "dead"
`

describe('groups and queues of a running gateway', () => {
  let gateway: GatewayProcess
  const clients: RawClient[] = []

  beforeAll(async () => {
    gateway = await startGateway({ config: CONFIG })
  })
  afterAll(async () => {
    for (const client of clients) client.end()
    await gateway.dispose()
  })

  async function connect(options: Parameters<typeof RawClient.connect>[1] = {}) {
    const client = await RawClient.connect(gateway.mqttPort, options)
    clients.push(client)
    return client
  }

  const sluice = (...args: string[]) =>
    runSluice([...args, '--url', `http://127.0.0.1:${gateway.httpPort}`])

  const metric = async (name: string): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`)
    return (await response.text()).split('\n').find((line) => line.startsWith(name)) ?? ''
  }

  /** Publishes and waits for the acks. */
  async function publish(topics: readonly string[], text: string): Promise<void> {
    const publisher = await connect()
    for (const [index, topic] of topics.entries()) {
      publisher.publish(topic, text, { qos: 1, messageId: index + 1 })
    }
    await publisher.packet('puback', topics.length - 1)
  }

  it('shows who consumes what, and moves half of the partitions at a join within a second', async () => {
    const topics = Array.from({ length: 64 }, (_, i) => `devices/${i}/telemetry/t`)
    await publish(topics, '1')
    const first = await connect({ version: 5, clientId: 'first' })
    await first.subscribe('$share/analytics/$stream/telemetry', 1)
    await first.until(() => first.publishes.length === 64, 'all of them')
    const second = await connect({ version: 5, clientId: 'second' })
    const begun = performance.now()
    await second.subscribe('$share/analytics/$stream/telemetry', 1)
    const groups = async () => {
      const ran = await fetch(`http://127.0.0.1:${gateway.httpPort}/v1/groups`)
      return ((await ran.json()) as { groups: { members: { partitions: number[] }[] }[] }).groups
    }
    const isEven = async () =>
      (await groups())[0]?.members.every(({ partitions }) => partitions.length === 4) === true
    await eventually(isEven, 'four partitions each')
    expect(performance.now() - begun).toBeLessThan(1000)
    const { code, stdout } = await sluice('groups')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^GROUP +STREAM +PARTITION +NEXT +LAG +MEMBER +UNDER WAY$/m)
    expect(stdout.match(/^analytics +telemetry +\d +\d+ +0 +first/gm)).toHaveLength(4)
    expect(await metric('sluice_group_members')).toBe(
      'sluice_group_members{group="analytics",stream="telemetry"} 2',
    )
    first.end()
    second.end()
    await eventually(async () => (await groups())[0]?.members.length === 0, 'both have left')
    expect((await sluice('groups', '--format', 'json')).stdout).toContain('"lag":0')
  })

  it('shows queues, and puts dead letters back', async () => {
    await publish(['jobs/1'], 'do it')
    expect(await metric('sluice_queue_depth')).toBe('sluice_queue_depth{queue="jobs"} 1')
    const worker = await connect({ version: 5, acks: false, clientId: 'worker' })
    await worker.subscribe('$queue/jobs', 1)
    const { messageId } = await worker.packet('publish')
    expect((await sluice('queues')).stdout).toMatch(/^jobs +1 +\S+ +1 +1 +0 +0$/m)
    worker.send({ cmd: 'puback', messageId, reasonCode: 0x83 } as never)
    const dead = 'sluice_queue_dead_letters_total{queue="jobs"} 1'
    await eventually(async () => (await metric('sluice_queue_dead_letters')) === dead, 'it is dead')
    const back = await sluice('redrive', 'jobs')
    expect(back).toMatchObject({ code: 0, stdout: '1 dead letter is back in jobs\n' })
    await worker.packet('publish', 1)
    const unknown = await sluice('redrive', 'job')
    expect(unknown).toMatchObject({ code: 1, stderr: 'sluice: there is no queue "job"\n' })
  })

  // Skipped where it is missing: apt install mosquitto-clients
  it.skipIf(!mosquitto).each([
    [
      'mqttv5',
      [
        '-t',
        '$stream/telemetry/devices/7/#',
        '-D',
        'subscribe',
        'user-property',
        'stream-offset',
        'earliest',
      ],
    ],
    ['mqttv311', ['-t', '$stream@earliest/telemetry/devices/7/#']],
    ['mqttv5', ['-t', '$share/seven/$stream/telemetry/devices/7/#']],
    ['mqttv311', ['-t', '$share/old/$stream/telemetry/devices/7/#']],
  ])('replays to mosquitto_sub -V %s %o', async (version, asking) => {
    await publish(['devices/7/telemetry/m'], 'hello')
    const port = String(gateway.mqttPort)
    const args = ['-p', port, '-V', version, '-q', '1', '-C', '1', '-W', '20', '-v', ...asking]
    const { stdout } = await run('mosquitto_sub', args)
    expect(stdout).toMatch(/^devices\/7\/telemetry\/[mt] (hello|1)\n$/)
  })
})
