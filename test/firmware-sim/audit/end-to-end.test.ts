/** `npm run sim` with a scenario, and `npm run audit`, as a person runs them. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { startGateway } from '../../support/gateway-process.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const scenario = `
speed = 60
duration = "90s"
commands_every = "10s"

[[fleet]]
profile = "power-meter"
count = 4

[[fleet]]
profile = "door"
count = 4
every = "10s"

[[fleet]]
profile = "valve"
count = 2
every = "5s"
`

interface Ran {
  readonly code: number | null
  readonly text: string
}

function run(script: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], { cwd: root })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
    }
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, text }))
  })
}

test('a scenario is played, its ledger joined with files and with HTTP, and a loss is found', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-end-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const gateway = await startGateway()
  onTestFinished(() => gateway.dispose())
  const [file, ledger] = [join(dir, 'scenario.toml'), join(dir, 'ledger')]
  writeFileSync(file, scenario)
  const to = ['--port', String(gateway.mqttPort), '--seed', '3']
  const played = await run('firmware-sim/main.ts', ['--scenario', file, '--ledger', ledger, ...to])
  expect(played.code, played.text).toBe(0)
  expect(played.text).toContain('a fleet: 10 devices, 60 times real time')
  expect(played.text).toMatch(/^power-meter +3[56]\d /m)
  expect(Number(/answered (\d+)/.exec(played.text)?.[1])).toBeGreaterThan(0)

  const http = `http://127.0.0.1:${gateway.httpPort}`
  const sources = [
    ['--data', gateway.dataDir],
    ['--http', http],
  ]
  const audits = sources.map((log) => run('firmware-sim/audit.ts', ['--ledger', ledger, ...log]))
  for (const audit of await Promise.all(audits)) {
    expect(audit.code, audit.text).toBe(0)
    expect(audit.text).toMatch(/^logged +\d+ +0 +0 +0 +0$/m)
    expect(audit.text).toMatch(/^lost: 0$/m)
  }

  // One reading more than was ever sent: nobody can have it.
  const lines = readFileSync(ledger, 'utf8').replace(/"acknowledged":\[\[0,(\d+)\]\]/, more)
  writeFileSync(ledger, lines)
  const lossy = await run('firmware-sim/audit.ts', ['--ledger', ledger, '--http', http])
  expect(lossy.code).toBe(1)
  expect(lossy.text).toContain('LOST: 1')
})

function more(_all: string, end: string): string {
  return `"acknowledged":[[0,${Number(end) + 1}]]`
}

test('what cannot be read is told in a sentence', async () => {
  const none = await run('firmware-sim/audit.ts', ['--ledger', '/none', '--data', '/none'])
  expect(none.code).toBe(1)
  expect(none.text).toContain("audit: ENOENT: no such file or directory, open '/none'")
  const sim = await run('firmware-sim/main.ts', ['--scenario', '/none'])
  expect(sim.code).toBe(1)
  expect(sim.text).toContain('/none is no scenario: ENOENT')
})
