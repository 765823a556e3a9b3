/**
 * MQTT over WebSocket [MQTT-6.0.0]: the upgrade at /mqtt, and a stream over its frames. Packets may
 * begin and end anywhere in a frame [MQTT-6.0.0-2].
 */
import http from 'node:http'
import { Duplex } from 'node:stream'
import { WebSocket, WebSocketServer } from 'ws'

const PATH = '/mqtt'
/** `mqtt` is MQTT 3.1.1 and 5 [MQTT-6.0.0-3]; `mqttv3.1` came before them. */
const PROTOCOLS = ['mqtt', 'mqttv3.1'] as const

/** A request line and some headers; what browsers send with cookies fits. */
const HEADER_BYTES_MAX = 16 * 1024
/** Beside the largest packet: clients put a few small ones in a frame. */
const FRAME_ROOM_BYTES = 64 * 1024
const BUFFER_BYTES = 64 * 1024
/** Clients send whole messages; the library's 16,384 are 2 MiB for a stranger's empty frames. */
const FRAGMENTS_MAX = 256

/** WebSocket's own codes for why it is closed. */
const NORMAL = 1000
const UNSUPPORTED_DATA = 1003
const ABNORMAL = 1006

export interface WebSocketGate {
  /** A connection that is to be upgraded. */
  take(socket: Duplex): void
  close(): void
}

/** `accept` gets each upgraded connection, with the socket that `take` got. */
export function webSocketGate(
  packetBytesMax: number,
  accept: (stream: Duplex, socket: Duplex) => void,
): WebSocketGate {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: packetBytesMax + FRAME_ROOM_BYTES,
    // Telemetry is small, and a context of 64 KiB for each connection is not.
    perMessageDeflate: false,
    // Each fragment of a message costs some 100 bytes until the last is there.
    maxFragments: FRAGMENTS_MAX,
    clientTracking: false,
    handleProtocols: (offered) => PROTOCOLS.find((protocol) => offered.has(protocol)) ?? false,
  })
  const upgrades = http.createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
    // A browser that is pointed at the port, or a health check.
    const isPath = pathOf(request.url) === PATH
    response.writeHead(isPath ? 426 : 404, {
      connection: 'close',
      'content-type': 'text/plain',
      ...(isPath ? { upgrade: 'websocket' } : {}),
    })
    response.end(isPath ? 'MQTT over WebSocket: upgrade with subprotocol mqtt.\n' : NOT_HERE)
  })
  upgrades.on('upgrade', (request, socket, head) => {
    const refusal = refusalOf(request)
    if (refusal !== undefined) {
      refuse(socket, refusal)
      return
    }
    server.handleUpgrade(request, socket, head, (webSocket) => {
      accept(new WebSocketStream(webSocket), socket)
    })
  })
  // What is no HTTP; answered by closing.
  upgrades.on('clientError', (_error, socket) => socket.destroy())
  server.on('wsClientError', (_error, socket) => socket.destroy())
  return {
    take: (socket) => void upgrades.emit('connection', socket),
    close: () => server.close(),
  }
}

const NOT_HERE = 'MQTT over WebSocket is at /mqtt.\n'

interface HttpRefusal {
  readonly status: number
  readonly sentence: string
}

function refusalOf({ url, headers }: http.IncomingMessage): HttpRefusal | undefined {
  if (pathOf(url) !== PATH) return { status: 404, sentence: NOT_HERE }
  const offered = headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? []
  const isKnown = PROTOCOLS.some((protocol) => offered.includes(protocol))
  // [MQTT-6.0.0-3]
  return isKnown ? undefined : { status: 400, sentence: 'Offer the subprotocol mqtt.\n' }
}

function pathOf(url: string | undefined): string {
  return url?.split('?')[0] ?? ''
}

function refuse(socket: Duplex, { status, sentence }: HttpRefusal): void {
  const lines = [
    `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain',
    `Content-Length: ${sentence.length}`,
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${sentence}`)
}

/**
 * The bytes of a WebSocket as a stream. Not read, it does not read the socket: no more than a read
 * chunk and a frame are held. Each write is a frame, and is done when the socket has taken it.
 */
class WebSocketStream extends Duplex {
  private readonly webSocket: WebSocket

  constructor(webSocket: WebSocket) {
    super({ allowHalfOpen: false, autoDestroy: true, highWaterMark: BUFFER_BYTES })
    this.webSocket = webSocket
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', (data, isBinary) => {
      if (webSocket.readyState !== WebSocket.OPEN) return
      // [MQTT-6.0.0-1]
      if (isBinary) this.receive(data as Buffer)
      else webSocket.close(UNSUPPORTED_DATA, 'MQTT is sent in binary frames')
    })
    webSocket.once('close', (code: number) => {
      // What came before a proper close is still read; after a reset nothing is.
      if (code === ABNORMAL) this.destroy()
      else if (!this.destroyed && !this.readableEnded) this.push(null)
    })
    // A broken frame: the library closes the connection, and says so with "close".
    webSocket.on('error', () => undefined)
  }

  override _read(): void {
    if (this.webSocket.isPaused) this.webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.webSocket.send(chunk, { binary: true }, (error) => done(error ?? null))
  }

  override _final(done: (error?: Error | null) => void): void {
    this.webSocket.close(NORMAL)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.webSocket.terminate()
    done(error)
  }

  private receive(bytes: Buffer): void {
    if (this.destroyed) return
    if (!this.push(bytes)) this.webSocket.pause()
  }
}
