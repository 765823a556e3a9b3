/** Commands that ask the running gateway over HTTP: what it does now is in its memory. */
import { readFileSync } from 'node:fs'
import { messageOf } from '../base/errors.ts'
import type { CliContext } from './context.ts'
import { printable } from './format.ts'
import { type Place, settingsOf } from './place.ts'

export interface GatewayOptions extends Place {
  /** Where the gateway's HTTP is; the configuration says it otherwise. */
  readonly url?: string
}

const TIMEOUT_MS = 10_000

/** The answer; undefined once it was said why there is none. */
export async function askGateway(
  method: 'GET' | 'POST',
  path: string,
  body: object | undefined,
  options: GatewayOptions,
  context: CliContext,
  timeoutMs: number = TIMEOUT_MS,
): Promise<unknown> {
  const target = targetOf(options, context)
  if (target === undefined) return undefined
  const { url, token } = target
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  let response: Response
  try {
    const signal = AbortSignal.timeout(timeoutMs)
    response = await fetch(new URL(path, url), { method, headers, signal, ...sent })
  } catch (thrown) {
    const why = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown
    context.output.err(
      `sluice: the gateway does not answer at ${url}: ${messageOf(why)}\n` +
        'Start it, or name where its HTTP listens with --url.\n',
    )
    return undefined
  }
  const answer: unknown = await response.json().catch(() => undefined)
  if (response.ok) return answer
  const said = (answer as { message?: unknown } | undefined)?.message
  const message = typeof said === 'string' ? said : `HTTP status ${response.status}`
  context.output.err(`sluice: ${printable(message)}\n`)
  return undefined
}

function targetOf(
  options: GatewayOptions,
  context: CliContext,
): { readonly url: string; readonly token: string | undefined } | undefined {
  const settings = settingsOf(options, context)
  if (settings === undefined) return undefined
  const { host, port, tokenFile } = settings.config.http
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const own = `http://${name.includes(':') ? `[${name}]` : name}:${port}`
  const url = options.url ?? own
  if (!URL.canParse(url)) {
    context.output.err(`sluice: "${printable(url)}" is no URL such as http://127.0.0.1:8080\n`)
    return undefined
  }
  try {
    const token = tokenFile === undefined ? undefined : readFileSync(tokenFile, 'utf8').trim()
    return { url, token }
  } catch (thrown) {
    context.output.err(`sluice: the file of http.token_file: ${messageOf(thrown)}\n`)
    return undefined
  }
}
