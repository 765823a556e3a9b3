/** The gateway as a process: what it says, how it stops, what it refuses. Runs what was built. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { runCli } from '../support/cli-context.ts'
import { type GatewayOptions, startGateway } from '../support/gateway-process.ts'
import { runSluice } from '../support/sluice.ts'
import { tempDir } from '../support/temp-dir.ts'

async function given(options: GatewayOptions = {}) {
  const gateway = await startGateway(options)
  onTestFinished(() => gateway.dispose())
  return gateway
}

/** A port that somebody else listens on while the test runs. */
async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

function configFile(toml: string): string {
  const file = path.join(tempDir(), 'sluice.toml')
  writeFileSync(file, toml)
  return file
}

const FREE_MQTT = '[[mqtt.listener]]\naddress = "127.0.0.1:0"\n'
const FREE_HTTP = '[http]\naddress = "127.0.0.1:0"\n'

describe('sluice serve', () => {
  it('says where it listens, where it stores, and what to try next', async () => {
    const gateway = await given()
    const out = gateway.output()
    expect(out).toContain(`127.0.0.1:${gateway.mqttPort}`)
    expect(out).toContain(`http://127.0.0.1:${gateway.httpPort} `)
    expect(out).toContain(`${gateway.dataDir} (stream default)`)
    expect(out).toContain(`mosquitto_sub -p ${gateway.mqttPort} -t '#' -v`)
    expect(out).toMatch(/^ {2}node \S+main\.js tail default --follow --config \S+ --data \S+$/m)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('stops cleanly on %s', async (signal) => {
    const gateway = await given()
    expect(await gateway.stop(signal)).toEqual({ code: 0, signal: null })
    expect(gateway.output()).toContain('stopped')
    const again = await given({ dataDir: gateway.dataDir })
    expect(again.output()).toContain('is running')
  })

  it('logs as JSON lines where no terminal is, and for people when told so', async () => {
    const json = (await given()).output()
    const lines = json.split('\n').filter((line) => line.startsWith('{'))
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      msg: 'boot 1, epoch 1; 0 segments; nothing to repair',
    })
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ msg: 'the gateway is ready', boot: 1 })
    const pretty = (await given({ config: '[log]\nformat = "pretty"\n' })).output()
    expect(pretty).toMatch(/INFO.*the gateway is ready/)
  })

  it('refuses a second gateway on the same data directory, and the first goes on', async () => {
    const first = await given()
    const second = await runSluice([
      ...['serve', '--config', configFile(FREE_MQTT + FREE_HTTP)],
      ...['--data', first.dataDir],
    ])
    expect(second).toMatchObject({ code: 1, stdout: '' })
    expect(second.stderr).toMatch(/^sluice: another gateway .*\nStop the other gateway.*\n$/)
    const ready = await fetch(`http://127.0.0.1:${first.httpPort}/readyz`)
    expect(ready.status).toBe(200)
  })

  it.each(['MQTT', 'HTTP'])('says that the port for %s is taken', async (what) => {
    const port = await takenPort()
    const taken = (toml: string) => toml.replace(':0', `:${port}`)
    const file = configFile(
      what === 'MQTT' ? taken(FREE_MQTT) + FREE_HTTP : FREE_MQTT + taken(FREE_HTTP),
    )
    const dataDir = path.join(tempDir(), 'data')
    const refused = await runSluice(['serve', '--config', file, '--data', dataDir])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(new RegExp(`^sluice: .*127\\.0\\.0\\.1:${port}.*\n`, 'm'))
    expect(refused.stderr).toMatch(/\nStop the program that holds the port.*\n$/)
    const afterwards = await given({ dataDir })
    expect(afterwards.output()).toContain('is running')
  })

  it('says that it cannot write its data directory, and leaves what is there alone', async () => {
    // Below a file, because root may write into any folder.
    const folder = tempDir()
    writeFileSync(path.join(folder, 'file'), 'mine')
    const refused = await runSluice([
      ...['serve', '--config', configFile(FREE_MQTT + FREE_HTTP)],
      ...['--data', path.join(folder, 'file', 'data')],
    ])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^sluice: .*data.*\nChoose a folder.*\n$/)
    expect(readdirSync(folder)).toEqual(['file'])
  })

  it('reads ./sluice.toml where one is, and says so', async () => {
    const file = configFile('nonsense = 1\n')
    const { code, stderr } = await runSluice(['serve'], { cwd: path.dirname(file) })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^sluice: \.\/sluice\.toml is not valid:\nnonsense/)
    expect(existsSync(path.join(path.dirname(file), 'data'))).toBe(false)
  })

  it('a SIGHUP during the start is answered after it', async () => {
    const config = configFile(FREE_MQTT + FREE_HTTP)
    const stop = new AbortController()
    const said: string[] = []
    const { code, err } = await runCli(
      ['serve', '--config', config, '--data', path.join(tempDir(), 'data')],
      {
        onReloadRequest: (reload) => {
          reload()
          writeFileSync(config, 'nonsense = 1\n')
        },
        stopRequest: () => stop.signal,
        output: { out: () => stop.abort(), err: (text) => said.push(text) },
      },
    )
    expect([code, err]).toEqual([0, ''])
    expect(said.join('')).toContain('is not valid:\nnonsense')
  })
})
