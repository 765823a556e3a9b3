import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import mqtt from 'mqtt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { AckFilter } from './ack-filter.ts'
import { startFaultProxy } from './fault-proxy.ts'
import { eventually } from './front-end.ts'
import { describeWithMosquitto, startMosquitto } from './mosquitto.ts'

/** A server that says back what it hears, and a proxy before it. To the proxy an "a" is no ack. */
async function given() {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const proxy = await startFaultProxy((server.address() as AddressInfo).port)
  return { proxy, server }
}

interface Client {
  readonly socket: Socket
  got(): string
  /** 'open', or how it ended. */
  state(): string
}

async function client(port: number): Promise<Client> {
  let [got, state] = ['', 'open']
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('data', (text) => {
    got += text
  })
  socket.on('error', ({ code }: NodeJS.ErrnoException) => {
    state = code ?? 'error'
  })
  socket.on('close', () => {
    state = state === 'open' ? 'closed' : state
  })
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  return { socket, got: () => got, state: () => state }
}

describe('a fault proxy', () => {
  it('passes bytes on, counts them, and ends one side with the other', async () => {
    const { proxy } = await given()
    const one = await client(proxy.port)
    one.socket.write('hello')
    await eventually(() => one.got() === 'hello', 'the echo came')
    expect([proxy.bytesUp, proxy.bytesDown, proxy.accepted, proxy.open]).toEqual([5, 5, 1, 1])
    one.socket.end()
    await eventually(() => proxy.open === 0, 'the link has ended')
  })

  it('cuts what is open and accepts the next', async () => {
    const { proxy } = await given()
    const one = await client(proxy.port)
    one.socket.write('a')
    await eventually(() => one.got() === 'a', 'the echo came')
    proxy.cut()
    await eventually(() => one.state() === 'ECONNRESET', 'it was reset')
    const two = await client(proxy.port)
    two.socket.write('b')
    await eventually(() => two.got() === 'b', 'the next one works')
  })

  it('refuses until it is restored, on the same port', async () => {
    const { proxy } = await given()
    const { port } = proxy
    await proxy.refuse()
    expect((await client(port)).state()).toBe('ECONNREFUSED')
    await proxy.restore()
    expect([(await client(port)).state(), proxy.port]).toEqual(['open', port])
  })

  it('stalls, also for new connections, and then forwards all of it in order', async () => {
    const { proxy } = await given()
    const one = await client(proxy.port)
    proxy.stall()
    one.socket.write('a')
    const two = await client(proxy.port)
    two.socket.write('b')
    one.socket.write('c')
    await eventually(() => proxy.accepted === 2, 'both are accepted')
    expect([one.got(), two.got(), proxy.bytesUp]).toEqual(['', '', 0])
    await proxy.restore()
    await eventually(() => one.got() === 'ac' && two.got() === 'b', 'all of it came')
  })

  it('swallows what is open when it is half-open, and lets new ones through', async () => {
    const { proxy } = await given()
    const one = await client(proxy.port)
    one.socket.write('a')
    await eventually(() => one.got() === 'a', 'the echo came')
    proxy.halfOpen()
    one.socket.write('b')
    const two = await client(proxy.port)
    two.socket.write('c')
    await eventually(() => two.got() === 'c', 'the new one works')
    await proxy.restore()
    two.socket.write('d')
    await eventually(() => two.got() === 'cd', 'the new one still works')
    expect([one.got(), one.state()]).toEqual(['a', 'open'])
  })

  it('is as slow as it is told, and loses nothing', async () => {
    const { proxy } = await given()
    const one = await client(proxy.port)
    proxy.slow(100_000)
    const startMs = performance.now()
    const text = 'a'.repeat(40_000)
    one.socket.write(text)
    await eventually(() => one.got().length === text.length, 'all of it came')
    expect(performance.now() - startMs).toBeGreaterThan(350)
    await proxy.restore()
    one.socket.write(text)
    await eventually(() => one.got().length === 2 * text.length, 'the rest came at once')
  })
})

describe('the filter of acks', () => {
  const frames = [
    Buffer.from([0x20, 2, 0, 0]),
    Buffer.from([0x40, 2, 0, 1]),
    Buffer.concat([Buffer.from([0x30, 0xc8, 1]), Buffer.alloc(200, 0x40)]),
    Buffer.from([0x50, 3, 0, 2, 0x10]),
    Buffer.from([0x70, 2, 0, 3]),
    Buffer.from([0xd0, 0]),
    Buffer.from([0x90, 3, 0, 4, 1]),
  ]
  const kept = Buffer.concat(frames.filter((_, index) => ![1, 3, 4].includes(index)))

  it.each([1, 2, 3, 7, 1000])('takes them out of chunks of %i bytes, and nothing else', (size) => {
    const all = Buffer.concat(frames)
    const filter = new AckFilter(() => true)
    const parts: Buffer[] = []
    for (let at = 0; at < all.length; at += size) {
      parts.push(Buffer.from(filter.pass(all.subarray(at, at + size))))
    }
    expect(Buffer.concat(parts).toString('hex')).toBe(kept.toString('hex'))
  })

  it('leaves all as it is while nothing is to be dropped', () => {
    const all = Buffer.concat(frames)
    expect(new AckFilter(() => false).pass(all).toString('hex')).toBe(all.toString('hex'))
  })
})

describeWithMosquitto('before a real Mosquitto', () => {
  it('loses acks and nothing else, and the broker can be restarted behind it', async () => {
    const broker = await startMosquitto()
    const proxy = await startFaultProxy(broker.port)
    const up = await mqtt.connectAsync(`mqtt://127.0.0.1:${proxy.port}`, { reconnectPeriod: 20 })
    const far = await mqtt.connectAsync(broker.url)
    onTestFinished(async () => {
      await Promise.all([up.endAsync(true), far.endAsync(true)])
    })
    const got: string[] = []
    far.on('message', (_topic, payload) => got.push(String(payload)))
    await far.subscribeAsync('t', { qos: 1 })
    await up.publishAsync('t', 'acked', { qos: 1 })
    proxy.dropAcks()
    let acked = false
    up.publish('t', 'lost', { qos: 1 }, () => {
      acked = true
    })
    await eventually(() => proxy.acksDropped === 1 && got.includes('lost'), 'its ack was dropped')
    expect(acked).toBe(false)
    await proxy.restore()
    proxy.cut()
    await eventually(() => acked, 'it was sent again and acked')
    expect(got).toEqual(['acked', 'lost', 'lost'])
    await broker.stop('SIGKILL')
    await broker.start()
    await eventually(() => up.connected, 'the client is back')
    expect(broker.log()).toContain('mosquitto version')
  })
})
