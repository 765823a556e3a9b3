import type { Writable } from 'node:stream'
import { codeOf, SluiceError } from '../base/errors.ts'

/** Where a command's data goes. */
export interface DataSink {
  /**
   * Resolves once there is room for more: true, or false when the reader has gone (`| head -1`),
   * after which nothing needs to be written. Rejects with `storage` when it cannot be written.
   */
  write(data: string | Uint8Array): Promise<boolean>
}

/** A sink on a stream such as standard output. It takes the stream's errors over. */
export function sinkTo(stream: Writable): DataSink {
  let failure: Error | undefined
  stream.on('error', (error) => {
    failure ??= error
  })
  return {
    write: (data) =>
      new Promise((resolve, reject) => {
        const settle = (error: Error | null | undefined): void => {
          const cause = error ?? failure
          if (cause === undefined) resolve(true)
          else if (isReaderGone(cause)) resolve(false)
          else reject(new SluiceError('storage', 'the output cannot be written', { cause }))
        }
        if (failure === undefined) stream.write(data, settle)
        else settle(failure)
      }),
  }
}

function isReaderGone(error: Error): boolean {
  const code = codeOf(error)
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ERR_STREAM_DESTROYED'
}
