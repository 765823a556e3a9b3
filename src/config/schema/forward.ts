import { z } from 'zod'
import { defaults } from '../defaults.ts'
import {
  compact,
  duration,
  filterTemplate,
  name,
  oneOf,
  size,
  textLeaf,
  topicFilter,
  topicTemplate,
  whole,
} from '../leaves.ts'
import { parseDurationMs } from '../units.ts'
import { type LagRule, lagRules } from './stream.ts'

export const forwardOrders = ['strict', 'live-first'] as const
export type ForwardOrder = (typeof forwardOrders)[number]

export const compressions = ['none', 'deflate'] as const
export type Compression = (typeof compressions)[number]

/** What a record is put into where its origin cannot stand in properties. */
export const envelopes = ['none', 'cbor', 'json'] as const
export type EnvelopeConfig = (typeof envelopes)[number]

/** Where a new forward begins. */
export type ForwardStart =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'back'; readonly agoMs: number }

/** One message for many records: it leaves when the first of the limits is reached. */
export interface BatchConfig {
  readonly records: number
  readonly maxBytes: number
  readonly lingerMs: number
  readonly compress: Compression
}

/** How far a forward may fall behind; without an age, as far as its stream keeps records. */
export interface MaxLagConfig {
  readonly ageMs?: number
  readonly onLag: LagRule
}

export interface ForwardConfig {
  /** A stream, or a queue's own. */
  readonly stream: string
  /** Narrower than the stream; undefined: all of it. */
  readonly topics?: readonly string[]
  /**
   * `{gateway}`, `{topic}`, `{stream}` and `{client}` stand for their values, `{#}` and `{1}` ...
   * for what the wildcards of the filter matched.
   */
  readonly to: string
  readonly qos: 0 | 1 | 2
  /** Records under way, unacknowledged. */
  readonly window: number
  /** 0 goes before the others, 9 after. */
  readonly priority: number
  readonly order: ForwardOrder
  readonly start: ForwardStart
  readonly batch?: BatchConfig
  /** Of single records; a batch is one already. */
  readonly envelope: EnvelopeConfig
  readonly maxLag: MaxLagConfig
  /** Where each gap is told, with `{gateway}` and `{stream}`; undefined: nowhere. */
  readonly gaps?: string
}

export interface ReceiveConfig {
  /** A filter on the upstream; `{gateway}` stands for its value. */
  readonly from: string
  /** `{gateway}` and `{topic}` stand for their values, `{#}` and `{1}` ... for what matched. */
  readonly to: string
  /** An older command is not delivered; undefined: every one is. */
  readonly expiresMs?: number
}

/** The receive maximum of MQTT has 16 bits. */
const WINDOW_MAX = 65_535
/** A batch is built in memory. */
const BATCH_RECORDS_MAX = 100_000
const BATCH_BYTES_MAX = 256 * 1024 ** 2
const PRIORITY_MAX = 9

const receivePlaceholders = ['{gateway}', '{topic}', '{#}', '{1}'] as const
const forwardPlaceholders = [...receivePlaceholders, '{stream}', '{client}'] as const

function parseStart(text: string): ForwardStart | undefined {
  if (text === 'earliest' || text === 'latest') return { kind: text }
  const agoMs = text.startsWith('-') ? parseDurationMs(text.slice(1)) : undefined
  return agoMs === undefined ? undefined : { kind: 'back', agoMs }
}

const batchSchema = z
  .strictObject({
    records: whole(1, BATCH_RECORDS_MAX).default(defaults.batch.records),
    bytes: size(1, BATCH_BYTES_MAX).default(defaults.batch.maxBytes),
    linger: duration().default(defaults.batch.lingerMs),
    compress: oneOf(compressions).default(defaults.batch.compress),
  })
  .transform(
    ({ records, bytes, linger, compress }): BatchConfig => ({
      records,
      maxBytes: bytes,
      lingerMs: linger,
      compress,
    }),
  )

const maxLagSchema = z
  .strictObject({
    age: duration(1).optional(),
    on_lag: oneOf(lagRules).default(defaults.forward.onLag),
  })
  .transform((table): MaxLagConfig => compact({ ageMs: table.age, onLag: table.on_lag }))

export const forwardSchema = z
  .strictObject({
    stream: name(),
    topics: z.array(topicFilter()).optional(),
    to: topicTemplate(forwardPlaceholders).default(defaults.forward.to),
    qos: oneOf([0, 1, 2]).default(defaults.forward.qos),
    window: whole(1, WINDOW_MAX).default(defaults.forward.window),
    priority: whole(0, PRIORITY_MAX).default(defaults.forward.priority),
    order: oneOf(forwardOrders).default(defaults.forward.order),
    start: textLeaf('"earliest", "latest" or a time back such as "-6h"', parseStart).default(
      defaults.forward.start,
    ),
    batch: batchSchema.optional(),
    envelope: oneOf(envelopes).default(defaults.forward.envelope),
    max_lag: maxLagSchema.prefault({}),
    gaps: topicTemplate(['{gateway}', '{stream}']).optional(),
  })
  .transform(({ max_lag, ...table }): ForwardConfig => compact({ ...table, maxLag: max_lag }))

export const receiveSchema = z
  .strictObject({
    from: filterTemplate(),
    to: topicTemplate(receivePlaceholders).default(defaults.receive.to),
    expires: duration(1).optional(),
  })
  .transform(({ from, to, expires }): ReceiveConfig => compact({ from, to, expiresMs: expires }))
