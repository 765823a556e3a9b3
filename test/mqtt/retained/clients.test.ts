/** Retained messages, wills and `$SYS` with clients that others wrote. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { frontEnd } from '../../support/front-end.ts'

const run = promisify(execFile)
const found = spawnSync('sh', ['-c', 'command -v mosquitto_pub mosquitto_sub'])

// Skipped where they are missing: apt install mosquitto-clients
describe.skipIf(found.status !== 0).each(['mqttv311', 'mqttv5'])('Mosquitto with %s', (version) => {
  it('publishes retained messages, gets them, and clears them', async () => {
    const { port } = await frontEnd()
    const common = ['-p', String(port), '-V', version, '-q', '1']
    await run('mosquitto_pub', [...common, '-t', 'a/b', '-m', 'kept', '-r'])
    await run('mosquitto_pub', [...common, '-t', 'a/c', '-m', 'other', '-r'])
    const wanted = [...common, '-t', 'a/#', '-F', '%t %r %p', '-W', '20']
    const { stdout } = await run('mosquitto_sub', [...wanted, '-C', '2'])
    expect(stdout.trim().split('\n').sort()).toEqual(['a/b 1 kept', 'a/c 1 other'])
    await run('mosquitto_pub', [...common, '-t', 'a/b', '-n', '-r'])
    const left = await run('mosquitto_sub', [...wanted, '-C', '1'])
    expect(left.stdout.trim()).toBe('a/c 1 other')
  })

  it('leaves a will when it is killed', async () => {
    const { port, connect } = await frontEnd()
    const watcher = await connect()
    await watcher.subscribe('gone', 1)
    const will = ['--will-topic', 'gone', '--will-payload', 'killed', '--will-qos', '1']
    const client = spawn('mosquitto_sub', ['-p', String(port), '-V', version, '-t', 'x', ...will])
    onTestFinished(() => void client.kill('SIGKILL'))
    await watcher.subscribe('$SYS/broker/version', 0)
    await watcher.packet('publish')
    const other = await connect()
    await other.subscribe('x', 0)
    // Its SUBSCRIBE comes behind its CONNACK; what it then gets proves that it is connected.
    while (watcher.payloads.length < 2 && client.signalCode === null) {
      other.publish('x', 'ping')
      if (await said(client)) client.kill('SIGKILL')
    }
    await watcher.until(() => watcher.payloads.includes('killed'), 'the will')
  })

  it('reads $SYS', async () => {
    const { port } = await frontEnd()
    const options = [
      '-p',
      String(port),
      '-V',
      version,
      '-t',
      '$SYS/#',
      '-v',
      '-W',
      '20',
      '-C',
      '40',
    ]
    const { stdout } = await run('mosquitto_sub', options)
    expect(stdout).toContain('$SYS/broker/version sluice version 1.2.3\n')
    expect(stdout).toContain('$SYS/broker/retained messages/count 0\n')
  })
})

async function said(client: ReturnType<typeof spawn>): Promise<boolean> {
  const wait = AbortSignal.timeout(100)
  return await once(client.stdout as NodeJS.ReadableStream, 'data', { signal: wait }).then(
    () => true,
    () => false,
  )
}

describe.each([4, 5] as const)('mqtt.js with version %i', (protocolVersion) => {
  it('gets retained messages and the will of another', async () => {
    const { port } = await frontEnd()
    const url = `mqtt://127.0.0.1:${port}`
    const publisher = await mqtt.connectAsync(url, {
      protocolVersion,
      will: { topic: 'state', payload: Buffer.from('offline'), qos: 1, retain: true },
    })
    await publisher.publishAsync('state', 'online', { qos: 1, retain: true })
    const subscriber = await mqtt.connectAsync(url, { protocolVersion })
    onTestFinished(() => void subscriber.end(true))
    const got: [string, boolean][] = []
    const both = new Promise<void>((resolve) => {
      subscriber.on('message', (_topic, payload, packet) => {
        got.push([payload.toString(), packet.retain])
        if (got.length === 1) publisher.stream.destroy()
        if (got.length === 2) resolve()
      })
    })
    await subscriber.subscribeAsync('state', { qos: 1 })
    await both
    publisher.end(true)
    expect(got).toEqual([
      ['online', true],
      ['offline', false],
    ])
  })
})
