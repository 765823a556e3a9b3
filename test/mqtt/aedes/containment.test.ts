import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const run = promisify(execFile)
const dist = new URL('../../../dist/', import.meta.url).href

/**
 * Opens a session whose peer fails in the given way when it is ready, and says what was contained.
 */
function script(failure: string): string {
  return `
    import { createAedesProtocol } from '${dist}mqtt/aedes/aedes-protocol.js'
    import mqtt from '${new URL('../../../node_modules/mqtt-packet/mqtt.js', import.meta.url).href}'
    const sessions = { claim: () => false, discard() {} }
    const options = { packetBytesMax: 1000, connectTimeoutMs: 5000, sessions, sessionExpiryMaxS: 0 }
    const protocol = createAedesProtocol(options)
    await protocol.start()
    const uncaught = (thrown) => {
      console.log(thrown.message, protocol.culprit() === victim ? 'victim' : 'nobody')
      process.exit()
    }
    process.on('unhandledRejection', uncaught)
    process.on('uncaughtException', uncaught)
    const silent = { send() {}, async accepted() {}, ended() {}, fail() {} }
    protocol.open({ ...silent, ready() {} })
    const victim = { ...silent, ready() { ${failure} } }
    const session = protocol.open(victim)
    const connect = { cmd: 'connect', clientId: 'v', protocolVersion: 4, clean: true, keepalive: 0 }
    session.packet(mqtt.generate(connect))
  `
}

describe('A1: an exception that comes later than the call', () => {
  it.each([
    ['in the same turn', 'throw new Error("now")', 'now victim'],
    ['from a timer', 'setTimeout(() => { throw new Error("timer") }, 5)', 'timer victim'],
    ['from an immediate', 'setImmediate(() => { throw new Error("soon") })', 'soon victim'],
    ['from a promise', 'Promise.reject(new Error("promise"))', 'promise victim'],
  ])('is traced to its session: %s', async (_what, failure, said) => {
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script(failure)])
    expect(stdout.trim()).toBe(said)
  })
})
