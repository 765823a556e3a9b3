import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { show } from '../fault.ts'
import {
  byteRate,
  compact,
  dayWindow,
  duration,
  fileName,
  name,
  oneOf,
  rate,
  size,
  text,
} from '../leaves.ts'
import { type ForwardConfig, forwardSchema, type ReceiveConfig, receiveSchema } from './forward.ts'

export interface BridgeTls {
  /** Undefined: the authorities the system trusts. */
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
  readonly alpn?: readonly string[]
}

/**
 * Waits between attempts grow from first to most; a link that held for `stableAfterMs` resets them.
 */
export interface BackoffConfig {
  readonly firstMs: number
  readonly mostMs: number
  readonly stableAfterMs: number
}

/** What is not there has no limit. */
export interface LimitConfig {
  readonly recordsPerSecond?: number
  readonly bytesPerSecond?: number
  readonly bytesPerDay?: number
  /** In minutes of the system's day, half-open, also over midnight. */
  readonly window?: { readonly fromMinute: number; readonly endMinute: number }
}

export interface BridgeConfig {
  readonly name: string
  /** mqtt, mqtts, ws or wss; without a user or password. */
  readonly url: string
  /** MQTT 5, or 4 for MQTT 3.1.1. */
  readonly protocol: 4 | 5
  /** `{gateway}` stands for the gateway's id. */
  readonly clientId: string
  readonly username?: string
  readonly passwordFile?: string
  readonly tls?: BridgeTls
  /** 0 sends none. */
  readonly keepaliveMs: number
  readonly backoff: BackoffConfig
  readonly limit: LimitConfig
  readonly forwards: readonly ForwardConfig[]
  readonly receives: readonly ReceiveConfig[]
}

/** The keep-alive of CONNECT has 16 bits, in seconds. */
const KEEPALIVE_MS_MAX = 65_535_000

const schemes = ['mqtt:', 'mqtts:', 'ws:', 'wss:']

/** The scheme of a bridge's URL, with its colon; undefined when it is no such URL. */
export function urlScheme(url: string): string | undefined {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || parsed.hostname === '') return undefined
  return schemes.find((scheme) => scheme === parsed.protocol)
}

/** Its own leaf because a fault must not repeat a password that stands in a URL. */
const brokerUrl = () =>
  z.unknown().transform((input, context): string => {
    const isText = typeof input === 'string'
    const secret = isText && input.includes('@')
    if (isText && !secret && urlScheme(input) !== undefined) return input
    let found = input === undefined ? 'it is required' : `found ${show(input)}`
    if (secret) found = 'found a user or password in it, which belong in username, password_file'
    const expected = 'a URL such as "mqtts://broker.example.com:8883" (mqtt, mqtts, ws, wss)'
    context.issues.push({
      code: 'custom',
      message: `${found}, expected ${expected}`,
      input: undefined,
    })
    return z.NEVER
  })

const tlsSchema = z
  .strictObject({
    ca_file: fileName().optional(),
    cert_file: fileName().optional(),
    key_file: fileName().optional(),
    alpn: z.array(text('the name of a protocol such as "mqtt"')).optional(),
  })
  .transform(
    (table): BridgeTls =>
      compact({
        caFile: table.ca_file,
        certFile: table.cert_file,
        keyFile: table.key_file,
        alpn: table.alpn,
      }),
  )

const backoffSchema = z
  .strictObject({
    first: duration(1).default(defaults.bridge.backoff.firstMs),
    most: duration(1).default(defaults.bridge.backoff.mostMs),
    stable_after: duration().default(defaults.bridge.backoff.stableAfterMs),
  })
  .transform(
    (table): BackoffConfig => ({
      firstMs: table.first,
      mostMs: table.most,
      stableAfterMs: table.stable_after,
    }),
  )

const limitSchema = z
  .strictObject({
    rate: rate().optional(),
    bytes: byteRate().optional(),
    per_day: size(1).optional(),
    window: dayWindow().optional(),
  })
  .transform(
    (table): LimitConfig =>
      compact({
        recordsPerSecond: table.rate,
        bytesPerSecond: table.bytes,
        bytesPerDay: table.per_day,
        window: table.window,
      }),
  )

export const bridgeSchema = z
  .strictObject({
    name: name(),
    url: brokerUrl(),
    protocol: oneOf([4, 5]).default(defaults.bridge.protocol),
    client_id: text('a client id, in which {gateway} may stand').default(defaults.bridge.clientId),
    username: text('a user name').optional(),
    password_file: fileName().optional(),
    tls: tlsSchema.optional(),
    keepalive: duration(0, KEEPALIVE_MS_MAX).default(defaults.bridge.keepaliveMs),
    backoff: backoffSchema.prefault({}),
    limit: limitSchema.prefault({}),
    forward: z.array(forwardSchema).default([]),
    receive: z.array(receiveSchema).default([]),
  })
  .transform(
    (table): BridgeConfig =>
      compact({
        name: table.name,
        url: table.url,
        protocol: table.protocol,
        clientId: table.client_id,
        username: table.username,
        passwordFile: table.password_file,
        tls: table.tls,
        keepaliveMs: table.keepalive,
        backoff: table.backoff,
        limit: table.limit,
        forwards: table.forward,
        receives: table.receive,
      }),
  )
