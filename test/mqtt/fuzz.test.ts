/**
 * G8 under a seeded fuzzer: streams of packets, valid ones mutated, cut and reordered, in both
 * versions, against a gateway that is a process of its own. It must not end, not hang, and not
 * grow; a witness beside them is served throughout.
 *
 * SLUICE_FUZZ_PACKETS asks for more packets, SLUICE_SEED for others.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { mutate } from '../support/fuzz/mutate.ts'
import { stream } from '../support/fuzz/streams.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { RawClient } from '../support/raw-client.ts'

const PACKETS = Number(process.env['SLUICE_FUZZ_PACKETS'] ?? 20_000)
const SEED = Number(process.env['SLUICE_SEED'] ?? 20_261)
const CONNECTIONS = 20
const PACKETS_OF_A_STREAM = 40
/** Our end of a stream is closed; the gateway has this long to close its own. */
const STREAM_MS = 10_000
/** What the run may add once it is warm: caches that are bounded, and garbage. */
const GROWTH_MIB_MAX = 160

const CONFIG = `
[access]
anonymous = true

[[stream]]
name = "all"
topics = ["#"]
qos0 = true
retention = { size = "64MiB" }

[disk]
segment = "4MiB"

[log]
level = "error"
`

it('no stream of packets ends, wedges or bloats the gateway', { timeout: 3_600_000 }, async () => {
  const gateway = await startGateway({ config: CONFIG })
  onTestFinished(() => gateway.dispose())
  const random = new SeededRandom(SEED)
  const witness = await RawClient.connect(gateway.mqttPort, { clientId: 'witness' })
  await witness.subscribe('witness/alive', 1)
  let sent = 0
  let warmMiB = 0
  let mostMiB = 0
  for (let round = 0; sent < PACKETS; round++) {
    const streams = Array.from({ length: CONNECTIONS }, () => attack(random))
    sent += streams.reduce((sum, { packets }) => sum + packets, 0)
    await Promise.all(streams.map((one) => send(gateway.mqttPort, one)))
    await alive(witness, round, gateway)
    const sizeMiB = residentMiB(gateway.pid)
    if (sent < PACKETS / 4) warmMiB = Math.max(warmMiB, sizeMiB)
    mostMiB = Math.max(mostMiB, sizeMiB)
  }
  console.info(
    `fuzz: seed ${SEED}, ${sent} packets, memory ${warmMiB.toFixed()} MiB after a quarter, ` +
      `${mostMiB.toFixed()} MiB at most`,
  )
  expect(mostMiB - warmMiB).toBeLessThan(GROWTH_MIB_MAX)
  expect((await gateway.stop()).code, gateway.output()).toBe(0)
})

interface Attack {
  readonly bytes: Buffer
  readonly packets: number
  /** Where it is cut into writes. */
  readonly cuts: readonly number[]
}

function attack(random: SeededRandom): Attack {
  const packets = mutate(random, stream(random, random.oneIn(2) ? 4 : 5, PACKETS_OF_A_STREAM))
  const bytes = Buffer.concat(packets)
  const cuts = Array.from({ length: random.below(6) }, () => random.below(bytes.length + 1))
  return { bytes, packets: packets.length, cuts: cuts.sort((a, b) => a - b) }
}

/** Writes a stream and its end, and waits until the gateway has closed the connection. */
async function send(port: number, { bytes, cuts }: Attack): Promise<void> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => socket.destroy())
  socket.resume()
  const closed = once(socket, 'close')
  await Promise.race([once(socket, 'connect'), closed])
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    if (!socket.writable) break
    socket.write(bytes.subarray(at, cut))
    at = cut
    await new Promise((resolve) => setImmediate(resolve))
  }
  socket.end()
  let inTime = true
  const timer = setTimeout(() => {
    inTime = false
    socket.destroy()
  }, STREAM_MS)
  await closed
  clearTimeout(timer)
  expect(inTime, `a stream of seed ${SEED} was not closed: ${bytes.toString('hex')}`).toBe(true)
}

/** A message of the witness goes through the log and comes back to it. */
async function alive(witness: RawClient, round: number, gateway: GatewayProcess): Promise<void> {
  const text = `round ${round}`
  const messageId = 1 + (round % 60_000)
  witness.publish('witness/alive', text, { qos: 1, messageId })
  await witness.until(
    () => witness.payloads.includes(text) || witness.closed,
    `the message of round ${round}, seed ${SEED}; the gateway wrote:\n${gateway.output()}`,
  )
  expect(witness.closed, gateway.output()).toBe(false)
  witness.received.length = 0
}

function residentMiB(pid: number): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  return Number(kib ?? 0) / 1024
}
