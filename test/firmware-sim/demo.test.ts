import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { encode } from 'cbor-x'
import { parse } from 'smol-toml'
import { afterEach, describe, expect, test } from 'vitest'
import { Child } from '../../firmware-sim/demo/child.ts'
import { configText, freePorts, startGateway } from '../../firmware-sim/demo/gateway.ts'
import { LogCheck, parseLogged } from '../../firmware-sim/demo/logged.ts'
import { runDemo } from '../../firmware-sim/demo/run.ts'
import { messageKey } from '../../firmware-sim/fleet.ts'
import { Screen } from '../../firmware-sim/screen.ts'
import { systemTime } from '../../firmware-sim/time.ts'
import { collected, eventually } from './support.ts'

const dirs: string[] = []
afterEach(async () => {
  for (const dir of dirs.splice(0)) await rm(dir, { recursive: true, force: true })
})

const topic = 'devices/sim-0001/telemetry'
const keyOf = (seq: number): string => messageKey(topic, 'sim-0001', 7, seq)

function logged(position: number, seq: number, as: 'cbor' | 'decoded' = 'decoded'): string {
  const values = { device: 'sim-0001', boot: 7, seq, temperature: 20.5 }
  const payload =
    as === 'cbor' ? { payload_base64: encode(values).toString('base64') } : { payload: values }
  return JSON.stringify({
    stream: 'default',
    partition: 0,
    offset: position,
    position,
    topic,
    ...payload,
  })
}

describe('what the tail prints', () => {
  test('is read with its payload decoded or in base64', () => {
    for (const as of ['cbor', 'decoded'] as const) {
      expect(parseLogged(logged(4, 9, as))).toMatchObject({
        position: 4,
        topic,
        key: keyOf(9),
        values: { temperature: 20.5 },
      })
    }
  })

  test("may be other people's messages, and lines that are none", () => {
    const foreign = { position: 1, topic: 'x', payload: 'hello' }
    expect(parseLogged(JSON.stringify(foreign))).toMatchObject({ position: 1, key: undefined })
    const broken = { position: 1, topic: 'x', payload_base64: '//8=' }
    expect(parseLogged(JSON.stringify(broken))).toMatchObject({ position: 1, key: undefined })
    for (const line of ['', 'text', '[]', 'null', '{"position":"1"}']) {
      expect(parseLogged(line)).toBeUndefined()
    }
  })
})

describe('the check of the log', () => {
  test('finds nothing missing when all that was acknowledged is there, more or twice', () => {
    const check = new LogCheck([keyOf(0), keyOf(1)])
    for (const [position, seq] of [0, 1, 1, 2].entries()) check.line(logged(position, seq, 'cbor'))
    expect(check.missing()).toEqual([])
    expect(check).toMatchObject({ logged: 4, repeated: 1, unreadable: 0 })
  })

  test('names what was acknowledged and is not there', () => {
    const check = new LogCheck([keyOf(0), keyOf(1), keyOf(2)])
    check.line(logged(0, 0))
    check.line('not a record')
    check.line(logged(1, 2))
    expect(check.missing()).toEqual([keyOf(1)])
    expect(check).toMatchObject({ logged: 2, unreadable: 1 })
  })
})

describe('a child', () => {
  const node = (script: string): string[] => [process.execPath, '-e', script]

  test('that ends well says nothing, and all its lines have come', async () => {
    const lines: string[] = []
    const script = 'for (let i = 0; i < 5000; i++) console.log(i)'
    const child = new Child('counter', node(script), (line) => lines.push(line))
    expect(await child.ended).toBe('')
    expect(lines).toHaveLength(5_000)
    expect(child.running).toBe(false)
  })

  test('that fails is told with its last words', async () => {
    const child = new Child('thing', node('console.error("no luck"); process.exit(3)'), () => 0)
    expect(await child.ended).toBe('the thing ended with exit code 3; it said:\nno luck')
  })

  test('that cannot be started is told', async () => {
    const child = new Child('thing', ['/none/such'], () => 0)
    expect(await child.ended).toContain('the thing could not start')
  })

  test('that does not heed is ended all the same, and that is told', async () => {
    let ready = false
    const script = 'process.on("SIGTERM", () => 0); setInterval(() => 0, 1e3); console.log("up")'
    const child = new Child('mule', node(script), () => {
      ready = true
    })
    await eventually(() => ready)
    expect(await child.stop(50)).toContain('was ended by SIGKILL')
  })
})

describe('the gateway of the demo', () => {
  test('gets a configuration that is TOML, whatever the path', () => {
    const dir = '/tmp/a "quoted" \\ path'
    expect(parse(configText(dir, 1234, 5678))).toEqual({
      gateway: { data_dir: dir },
      mqtt: { listener: [{ address: '127.0.0.1:1234' }] },
      http: { address: '127.0.0.1:5678' },
    })
  })

  test('gets ports that differ', async () => {
    const ports = await freePorts(4)
    expect(new Set(ports).size).toBe(4)
    expect(ports).not.toContain(0)
  })

  test('that ends before it is ready is a failure with its words', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'sluice-demo-test-'))
    dirs.push(dir)
    const cli = [process.execPath, '-e', 'console.error("port taken"); process.exit(1)']
    const starting = startGateway(cli, dir, systemTime, new AbortController().signal)
    await expect(starting).rejects.toThrow('port taken')
  })
})

const gateway = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

describe.skipIf(!existsSync(gateway))('the demo on the built gateway', () => {
  test('publishes, tails, and finds every acknowledged message in the log', async () => {
    const output = collected()
    const recording = fileURLToPath(
      new URL('../../firmware-sim/data/greenhouse.csv', import.meta.url),
    )
    const cli = [process.execPath, gateway]
    const options = { cli, recording, durationMs: 3_000, seed: 5 }
    const signal = new AbortController().signal
    const code = await runDemo(options, systemTime, new Screen(output), signal)
    expect(output.text()).toMatch(/missing {7}0 /)
    expect(code).toBe(0)
  })
})
