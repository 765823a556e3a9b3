/** What a request is answered with when it cannot be served: a status, and what a person needs. */
import { SluiceError } from '../../base/errors.ts'

/** The body of every answer that is an error. */
export interface ErrorBody {
  /** For programs: stable. */
  readonly error: string
  /** What is wrong, and why. */
  readonly message: string
  /** What to do. */
  readonly hint: string
}

export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly statusCode: number
  readonly body: ErrorBody

  constructor(statusCode: number, error: string, message: string, hint: string) {
    super(message)
    this.statusCode = statusCode
    this.body = { error, message, hint }
  }
}

/** What was sent cannot be meant. */
export function badRequest(message: string, hint: string): ApiError {
  return new ApiError(400, 'bad-request', message, hint)
}

const NOT_FOUND: ReadonlySet<string> = new Set([
  'stream-unknown',
  'cursor-unknown',
  'bridge-unknown',
  'queue-unknown',
])
/** The table's hints speak of the command line: these say the same over HTTP. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['stream-unknown', 'GET /v1/streams lists the streams.'],
  ['cursor-unknown', 'GET /v1/cursors lists the cursors.'],
  [
    'start-invalid',
    'Use earliest, latest, a time back such as -6h, an ISO time, a Unix time in ms, ' +
      '<partition>:<offset>, or position:<n>.',
  ],
])

/** The answer to an error that has a cause outside; undefined for a bug of ours. */
export function apiErrorOf(thrown: unknown): ApiError | undefined {
  if (thrown instanceof ApiError) return thrown
  if (!(thrown instanceof SluiceError)) return undefined
  const { code, message, retry } = thrown
  const refused = retry === 'later' ? 503 : 400
  const status = NOT_FOUND.has(code) ? 404 : refused
  return new ApiError(status, code, message, HINTS.get(code) ?? thrown.hint)
}
