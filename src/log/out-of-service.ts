/**
 * Streams that cannot be opened do not keep a gateway from starting (G5): their files stay as they
 * are, what is sent to them is turned away, questions about them are rejected, and the next start
 * tries again. Nobody knows where such a stream ends, so it gives out no position meanwhile.
 */
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { reserveMayHelp } from './data-dir.ts'
import type { NotOpened, StreamEnd } from './writer/protocol.ts'

/** By stream: the trouble that keeps it from being served. */
export type OutOfService = ReadonlyMap<string, SluiceError>

/** Codes of Node and SQLite that mean: this user may not write here. */
const NOT_WRITABLE = /^(EACCES|EPERM|EROFS|SQLITE_READONLY|SQLITE_CANTOPEN|SQLITE_PERM)/

/** What a stream that is not served ends with: nothing in it is ever asked for. */
export const NO_END: StreamEnd = { end: 0, offsets: [] }

/** Joins what the repairs of the start could not read or write, and what the writer could not. */
export function outOfService(
  streams: readonly string[],
  failed: ReadonlyMap<string, unknown>,
  opened: readonly (StreamEnd | NotOpened | undefined)[],
): OutOfService {
  const found = new Map<string, SluiceError>()
  for (const [index, stream] of streams.entries()) {
    const thrown = failed.get(stream)
    const end = opened[index]
    if (thrown !== undefined) found.set(stream, explained(stream, thrown))
    else if (end !== undefined && 'code' in end) found.set(stream, refused(end))
  }
  return found
}

/**
 * Throws the trouble where none of these streams can be served, or where the space of the reserve
 * may mend it, which is still there.
 */
export function refuseStart(
  dataDir: string,
  streams: readonly string[],
  troubles: OutOfService,
): void {
  const [first] = troubles.values()
  if (first === undefined) return
  if (streams.every((stream) => troubles.has(stream))) throw first
  for (const trouble of troubles.values()) if (reserveMayHelp(dataDir, trouble)) throw trouble
}

/** Loud, once for each: only a person can mend it. */
export function tellOutOfService(troubles: OutOfService, logger: Logger | undefined): void {
  for (const [stream, { message, hint }] of troubles) {
    logger?.error(
      { stream },
      `stream ${stream} is out of service until a start finds its files in order; its messages ` +
        `are turned away, the other streams work: ${message}. ${hint}`,
    )
  }
}

function explained(stream: string, thrown: unknown): SluiceError {
  const code = NOT_WRITABLE.test(codeOf(thrown) ?? '') ? 'data-dir-unusable' : 'storage'
  const sentence = `the stream "${stream}" cannot be opened: ${messageOf(thrown)}`
  return new SluiceError(code, sentence, { cause: thrown })
}

function refused({ code, message, cause }: NotOpened): SluiceError {
  return new SluiceError(code, message, { cause })
}
