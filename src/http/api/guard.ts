/**
 * Against web pages that somebody opens on the gateway's machine or near it. A page can send
 * requests anywhere; the browser asks first only when they carry a content type such as JSON, and
 * it is never told yes. It can also rename its own host to 127.0.0.1 (DNS rebinding): its requests
 * then carry its own name.
 */
import { ApiError } from './api-error.ts'

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i

/** Whether the address it listens on can be reached only from this machine. */
export function isLoopback(host: string): boolean {
  return host === '::1' || LOOPBACK.test(host)
}

export interface Asked {
  readonly method: string
  readonly host: string | undefined
  readonly contentType: string | undefined
}

/** Why the request is not served; undefined when it may be. `checksHost`: only loopback names. */
export function guardFault(asked: Asked, checksHost: boolean): ApiError | undefined {
  if (checksHost && !LOOPBACK.test(asked.host ?? '')) {
    return new ApiError(
      403,
      'host-refused',
      'The Host header does not name this machine: a web page could be asking for somebody else.',
      'Ask for localhost or 127.0.0.1; to serve other names, set http.token_file.',
    )
  }
  if (asked.method === 'GET' || asked.method === 'HEAD') return undefined
  if (/^application\/json\s*(?:;|$)/i.test(asked.contentType ?? '')) return undefined
  return new ApiError(
    415,
    'unsupported-media-type',
    'The request has no JSON body.',
    'Send JSON with the header "Content-Type: application/json".',
  )
}
