/** G8 beside a fleet: streams of packets as no good client sends them harm no reading. */
import { once } from 'node:events'
import net from 'node:net'
import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { mutate } from '../support/fuzz/mutate.ts'
import { stream } from '../support/fuzz/streams.ts'
import { everyProfile, lostOf, SEED, Site, TIMEOUT_MS, tell } from './fleet.ts'

const AT_ONCE = 8
const PACKETS_OF_A_STREAM = 40

/** Writes one mutated stream and waits until the connection is gone. */
async function attack(port: number, random: SeededRandom): Promise<void> {
  const packets = mutate(random, stream(random, random.oneIn(2) ? 4 : 5, PACKETS_OF_A_STREAM))
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => socket.destroy())
  socket.resume()
  socket.end(Buffer.concat(packets))
  await once(socket, 'close')
}

it(
  'counts every reading of the fleet while hostile clients do their worst',
  async () => {
    const random = new SeededRandom(SEED)
    const site = await Site.open(everyProfile(60, 10))
    let attacks = 0
    await site.live(async (running) => {
      const attackers = Array.from({ length: AT_ONCE }, async () => {
        while (!running.aborted) {
          await attack(site.port, random)
          attacks += 1
        }
      })
      await Promise.all(attackers)
    })
    const seen = {
      errors: site.field.tally.of('errors'),
      repeats: site.field.tally.of('sentAgain'),
    }
    const result = await site.count()
    tell('hostile clients', result, `, ${attacks} streams of ${PACKETS_OF_A_STREAM} packets`)
    expect(attacks).toBeGreaterThan(AT_ONCE)
    expect(seen).toEqual({ errors: 0, repeats: 0 })
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]).toMatchObject({ duplicated: 0, outOfOrder: 0, explained: 0 })
    expect(result.acknowledged).toBe(result.sent)
  },
  TIMEOUT_MS,
)
