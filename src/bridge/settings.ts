/** What a bridge is told; the composition root fills it from the configuration. */

export interface ForwardSettings {
  readonly stream: string
  /** Narrower than the stream; undefined: all of it. */
  readonly topics?: readonly string[]
  /** A topic template. */
  readonly to: string
  readonly qos: 0 | 1 | 2
  /** Messages under way, unacknowledged. */
  readonly window: number
  /** 0 goes before the others, 9 after. */
  readonly priority: number
  readonly order: 'strict' | 'live-first'
  /** Where a new forward begins. */
  readonly start:
    | { readonly kind: 'earliest' }
    | { readonly kind: 'latest' }
    | { readonly kind: 'back'; readonly agoMs: number }
  readonly batch?: {
    readonly records: number
    readonly maxBytes: number
    readonly lingerMs: number
    readonly compress: 'none' | 'deflate'
  }
  /** What a single record is put into. */
  readonly envelope: 'none' | 'cbor' | 'json'
  readonly maxLag: { readonly ageMs?: number; readonly onLag: 'gap' | 'refuse' }
  /** A topic template: each gap is told there; undefined: none is. */
  readonly gaps?: string
}

export interface ReceiveSettings {
  readonly from: string
  readonly to: string
  readonly expiresMs?: number
}

export interface BridgeSettings {
  readonly name: string
  readonly url: string
  readonly protocol: 4 | 5
  readonly clientId: string
  readonly username?: string
  readonly passwordFile?: string
  readonly tls?: {
    readonly caFile?: string
    readonly certFile?: string
    readonly keyFile?: string
    readonly alpn?: readonly string[]
  }
  readonly keepaliveMs: number
  readonly backoff: {
    readonly firstMs: number
    readonly mostMs: number
    readonly stableAfterMs: number
  }
  readonly limit: {
    readonly recordsPerSecond?: number
    readonly bytesPerSecond?: number
    readonly bytesPerDay?: number
    /** Half-open, minutes of the day as the system's time zone has it; may pass midnight. */
    readonly window?: { readonly fromMinute: number; readonly endMinute: number }
  }
  readonly forwards: readonly ForwardSettings[]
  readonly receives: readonly ReceiveSettings[]
}
