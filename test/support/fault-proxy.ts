/**
 * A TCP proxy between a bridge and its upstream that does what links do: it is cut, refuses,
 * stalls, slows down, goes on accepting while nothing arrives (half-open), or loses acks. It
 * reorders nothing and changes no byte.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { AckFilter } from './ack-filter.ts'

export interface FaultProxy {
  readonly port: number
  /** Payload bytes that were forwarded to the upstream and from it. */
  readonly bytesUp: number
  readonly bytesDown: number
  /** Connections accepted since the start, and those that are open now. */
  readonly accepted: number
  readonly open: number
  /** Acks that `dropAcks` has taken out. */
  readonly acksDropped: number
  /** Resets every connection; new ones are as before. */
  cut(): void
  /** Cuts, and refuses connections until `restore`. Resolves when nobody is accepted any more. */
  refuse(): Promise<void>
  /** Forwards nothing until `restore`, then all of it; connections are still accepted. */
  stall(): void
  /** From now on PUBACK, PUBREC and PUBCOMP of the upstream are lost, until `restore`. */
  dropAcks(): void
  /** What is open now stays open and everything in it is swallowed, for ever; new ones work. */
  halfOpen(): void
  /** At most so many bytes a second, in each direction and connection, until `restore`. */
  slow(bytesPerSecond: number): void
  /** Every fault ends, but what was cut or is half-open stays so. */
  restore(): Promise<void>
  /** To another upstream from the next connection on: one that was restarted on another port. */
  retarget(port: number): void
  close(): Promise<void>
}

/** A running proxy in front of a port of this machine; it ends with the test. */
export async function startFaultProxy(upstreamPort: number): Promise<FaultProxy> {
  const proxy = new TcpProxy(upstreamPort)
  await proxy.listen(0)
  onTestFinished(() => proxy.close())
  return proxy
}

/** Often enough that a slow link looks like one, and not like bursts. */
const SLICE_MS = 20

interface Faults {
  stalled: boolean
  losesAcks: boolean
  /** Undefined: as fast as it goes. */
  bytesPerSecond: number | undefined
}

class TcpProxy implements FaultProxy {
  port = 0
  bytesUp = 0
  bytesDown = 0
  accepted = 0
  private readonly faults: Faults = {
    stalled: false,
    losesAcks: false,
    bytesPerSecond: undefined,
  }
  private readonly links = new Set<Link>()
  private upstreamPort: number
  private dropped = 0
  private server: Server | undefined

  constructor(upstreamPort: number) {
    this.upstreamPort = upstreamPort
  }

  get open(): number {
    return this.links.size
  }

  get acksDropped(): number {
    return this.dropped
  }

  async listen(port: number): Promise<void> {
    const server = createServer((socket) => this.accept(socket))
    this.server = server
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
  }

  cut(): void {
    for (const link of this.links) link.reset()
  }

  async refuse(): Promise<void> {
    const server = this.server
    this.server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    this.cut()
    await closed
  }

  stall(): void {
    this.faults.stalled = true
  }

  dropAcks(): void {
    this.faults.losesAcks = true
  }

  halfOpen(): void {
    for (const link of this.links) link.swallows = true
  }

  slow(bytesPerSecond: number): void {
    this.faults.bytesPerSecond = bytesPerSecond
  }

  async restore(): Promise<void> {
    Object.assign(this.faults, { stalled: false, losesAcks: false, bytesPerSecond: undefined })
    for (const link of this.links) link.flow()
    if (this.server === undefined) await this.listen(this.port)
  }

  retarget(port: number): void {
    this.upstreamPort = port
  }

  async close(): Promise<void> {
    await this.refuse()
  }

  private accept(bridge: Socket): void {
    this.accepted++
    const link = new Link(bridge, connect(this.upstreamPort, '127.0.0.1'), this.faults, {
      up: (bytes) => {
        this.bytesUp += bytes
      },
      down: (bytes) => {
        this.bytesDown += bytes
      },
      ack: () => {
        this.dropped++
      },
      end: () => this.links.delete(link),
    })
    this.links.add(link)
  }
}

interface Told {
  up(bytes: number): void
  down(bytes: number): void
  ack(): void
  end(): void
}

/** One connection of the bridge and the one behind it. */
class Link {
  swallows = false
  private readonly sockets: readonly Socket[]
  private readonly lanes: readonly Lane[]

  constructor(bridge: Socket, upstream: Socket, faults: Faults, told: Told) {
    const acks = new AckFilter(() => {
      if (faults.losesAcks) told.ack()
      return faults.losesAcks
    })
    const swallows = () => this.swallows
    this.sockets = [bridge, upstream]
    this.lanes = [
      new Lane(bridge, upstream, faults, swallows, (chunk) => chunk, told.up),
      new Lane(upstream, bridge, faults, swallows, (chunk) => acks.pass(chunk), told.down),
    ]
    for (const [socket, other] of [
      [bridge, upstream],
      [upstream, bridge],
    ] as const) {
      socket.setNoDelay(true)
      // A link that breaks is what this is for: the other side is told by its own end.
      socket.on('error', () => undefined)
      socket.on('close', () => {
        if (!this.swallows) other.destroy()
        if (this.sockets.every(({ destroyed }) => destroyed)) told.end()
      })
    }
  }

  flow(): void {
    for (const lane of this.lanes) lane.pump()
  }

  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }
}

/** One direction of a link. It reads the next chunk when the last one has gone. */
class Lane {
  private readonly from: Socket
  private readonly to: Socket
  private readonly faults: Faults
  private readonly swallows: () => boolean
  private readonly filter: (chunk: Buffer) => Buffer
  private readonly told: (bytes: number) => void
  private waiting: Buffer | undefined
  private hasEnded = false
  private timer: NodeJS.Timeout | undefined

  constructor(
    from: Socket,
    to: Socket,
    faults: Faults,
    swallows: () => boolean,
    filter: (chunk: Buffer) => Buffer,
    told: (bytes: number) => void,
  ) {
    this.from = from
    this.to = to
    this.faults = faults
    this.swallows = swallows
    this.filter = filter
    this.told = told
    from.on('data', (chunk: Buffer) => {
      this.waiting = chunk
      from.pause()
      this.pump()
    })
    from.on('end', () => {
      this.hasEnded = true
      this.pump()
    })
    from.on('close', () => clearTimeout(this.timer))
  }

  pump(): void {
    const { waiting } = this
    if (this.faults.stalled || this.timer !== undefined) return
    if (waiting === undefined) {
      if (this.hasEnded && !this.swallows()) this.to.end()
      return
    }
    const { bytesPerSecond } = this.faults
    const most = bytesPerSecond === undefined ? Infinity : (bytesPerSecond * SLICE_MS) / 1000
    const slice = waiting.subarray(0, Math.max(1, Math.floor(most)))
    this.waiting = slice.length < waiting.length ? waiting.subarray(slice.length) : undefined
    this.forward(slice)
    if (bytesPerSecond === undefined) this.next()
    else this.pause()
  }

  private pause(): void {
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.next()
    }, SLICE_MS)
  }

  private next(): void {
    if (this.waiting === undefined) this.from.resume()
    this.pump()
  }

  private forward(slice: Buffer): void {
    if (this.swallows() || this.to.destroyed) return
    const passed = this.filter(slice)
    if (passed.length === 0) return
    this.told(passed.length)
    this.to.write(passed)
  }
}
