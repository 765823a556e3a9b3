/**
 * The stream that Aedes takes for the client's socket. It hands over one whole control packet at a
 * time, when the front end says so, and never buffers: `readable` is emitted by hand, so that an
 * exception in Aedes' handler comes back to us instead of ending the process.
 */
import { Duplex } from 'node:stream'

export class PacketStream extends Duplex {
  private packet: Buffer | null = null
  private readonly send: (bytes: Uint8Array) => void
  private readonly destroyedBy: (error: Error | null) => void

  constructor(send: (bytes: Uint8Array) => void, destroyedBy: (error: Error | null) => void) {
    // Aedes destroys the stream where it is done with a client; errors go by `destroyedBy`.
    super({ allowHalfOpen: false, emitClose: true })
    this.send = send
    this.destroyedBy = destroyedBy
  }

  /** Lets Aedes handle a packet now. Throws what its synchronous part throws. */
  deliver(packet: Buffer): void {
    this.packet = packet
    this.emit('readable')
  }

  override read(): Buffer | null {
    const packet = this.packet
    this.packet = null
    return packet
  }

  override _read(): void {
    // Packets come by `deliver`; there is nothing to ask for.
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.send(chunk)
    done()
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    for (const { chunk } of chunks) this.send(chunk)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.destroyedBy(error)
    done(null)
  }
}
