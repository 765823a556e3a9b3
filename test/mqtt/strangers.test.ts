import { describe, expect, it } from 'vitest'
import { STRANGER_BYTES_MAX } from '../../src/mqtt/strangers.ts'
import { eventually, frontEnd } from '../support/front-end.ts'

/** The head of a CONNECT of 120 KiB. */
const HEAD = Buffer.from([0x10, 0x80, 0xc0, 0x07, 0, 4, ...Buffer.from('MQTT'), 4, 0xc2, 0, 60])

describe('connections that have not logged in', () => {
  it('keep nobody out: the oldest silent one makes place', async () => {
    const { connect, open, mqtt } = await frontEnd({ maxConnections: 5 })
    const known = await connect()
    const silent = [await open(), await open(), await open(), await open()]
    await eventually(() => mqtt.stats.sockets === 5, 'all are there')
    const client = await connect()
    await silent[0]?.closing()
    expect(silent.slice(1).map(({ closed }) => closed)).toEqual([false, false, false])
    expect(known.closed).toBe(false)
    expect(client.of('connack')[0]?.returnCode).toBe(0)
    expect(mqtt.stats.limited.connections).toBe(1)
  })

  it('where all are clients, the next is refused', async () => {
    const { connect, open, mqtt } = await frontEnd({ maxConnections: 2 })
    const clients = [await connect(), await connect()]
    await (await open()).closing()
    expect(clients.map(({ closed }) => closed)).toEqual([false, false])
    expect(mqtt.stats.connectionsRefused).toBe(1)
  })

  it('hold a bounded number of bytes together, and clients come in all the while', async () => {
    const { connect, open, mqtt } = await frontEnd()
    const part = Buffer.alloc(110 * 1024)
    const count = Math.ceil((1.5 * STRANGER_BYTES_MAX) / part.length)
    for (let n = 0; n < count; n++) (await open()).bytes(Buffer.concat([HEAD, part]))
    const { stats } = mqtt
    await eventually(() => stats.limited.handshake >= count / 4, 'a part of them is closed')
    await eventually(() => stats.sockets * part.length <= STRANGER_BYTES_MAX, 'the rest fits')
    const client = await connect()
    expect(client.of('connack')[0]?.returnCode).toBe(0)
  })
})
