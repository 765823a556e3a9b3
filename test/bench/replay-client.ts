/**
 * Clients that only consume: they subscribe, count what comes, acknowledge QoS 1, and stop at a
 * count. They look at nothing but lengths and packet identifiers, so that they are no bottleneck.
 */
import { once } from 'node:events'
import net from 'node:net'
import mqttPacket, { type Packet } from 'mqtt-packet'

export interface ReplayOptions {
  readonly port: number
  readonly filter: string
  readonly qos: 0 | 1
  /** Messages over all clients. */
  readonly messages: number
  readonly clients?: number
}

/** A silence this long means that nothing more will come. */
const SILENCE_MS = 30_000

/** Messages per second from the first to the last, over all clients, MQTT 5. */
export async function replayRate(options: ReplayOptions): Promise<number> {
  const sockets: net.Socket[] = []
  let count = 0
  let firstMs = 0
  try {
    return await new Promise((resolve, reject) => {
      const silence = setTimeout(reject, SILENCE_MS, new Error('no replay came'))
      const came = (messages: number): void => {
        if (messages === 0) return
        if (count === 0) firstMs = performance.now()
        count += messages
        silence.refresh()
        if (count < options.messages) return
        clearTimeout(silence)
        resolve((count / (performance.now() - firstMs)) * 1000)
      }
      for (let i = 0; i < (options.clients ?? 1); i++) {
        open(options, i, came).then((socket) => sockets.push(socket), reject)
      }
    })
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

let serial = 0

async function open(
  { port, filter, qos }: ReplayOptions,
  index: number,
  came: (messages: number) => void,
): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const clientId = `replay-${++serial}-${index}`
  const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, clientId }
  const subscriptions = [{ topic: filter, qos }]
  for (const packet of [connect, { cmd: 'subscribe', messageId: 1, subscriptions }]) {
    socket.write(mqttPacket.generate(packet as Packet, { protocolVersion: 5 }))
  }
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const acks: number[] = []
    const [messages, end] = scan(bytes, acks)
    rest = bytes.subarray(end)
    if (acks.length > 0) socket.write(Buffer.from(acks))
    came(messages)
  })
  return socket
}

/** Counts whole PUBLISH packets and says where the first incomplete packet begins. */
function scan(bytes: Buffer, acks: number[]): [messages: number, end: number] {
  let messages = 0
  let at = 0
  for (;;) {
    let body = at + 1
    let length = 0
    for (let shift = 0; ; shift += 7) {
      if (body >= bytes.length) return [messages, at]
      const byte = bytes[body++] as number
      length += (byte & 127) << shift
      if (byte < 128) break
    }
    if (body + length > bytes.length) return [messages, at]
    const first = bytes[at] as number
    if (first >> 4 === 3) {
      messages++
      const id = body + 2 + bytes.readUInt16BE(body)
      if ((first & 6) !== 0) acks.push(0x40, 2, bytes[id] as number, bytes[id + 1] as number)
    }
    at = body + length
  }
}
