/**
 * Rules for messages that come down, without a connection: what is taken, under which topic, and
 * until when it is worth delivering.
 *
 * C1. What this gateway sent itself is not taken back: with MQTT 5 or an envelope it names its
 *     gateway; without either, it is known by what it looks like (see echo.ts).
 * C2. A retained message is taken once, however often the upstream sends it at a new subscription.
 * C3. A command that is older than its time is not delivered. Time runs from its arrival, or is
 *     what the upstream says is left of it, whichever ends first. The clock is monotonic: a wall
 *     clock that is set must neither revive nor kill a command.
 */
import { topicFault } from '../log/topics.ts'
import { decodeEnvelope } from './envelope.ts'
import { compileTemplate, matchCaptures } from './template.ts'

export interface ReceiveRule {
  /** A filter on the upstream; `{gateway}` stands for its value. */
  readonly from: string
  /** A template: `{gateway} {topic} {#} {1}` ... stand for their values. */
  readonly to: string
  /** Undefined: a command has no age of its own. */
  readonly expiresMs?: number
}

/** A message as the upstream sent it. */
export interface Arrival {
  readonly topic: string
  readonly payload: Uint8Array
  readonly retain: boolean
  /** Empty with MQTT 3.1.1. */
  readonly userProperties: readonly (readonly [string, string])[]
  /** What the upstream says is left of it [MQTT-3.3.2-6]; undefined: it said nothing. */
  readonly expirySeconds: number | undefined
  /** Monotonic time in ms. */
  readonly arrivedMs: number
}

export type Verdict =
  | {
      readonly kind: 'take'
      /** The topic here. */
      readonly topic: string
      /** Monotonic time in ms from which on it is stale; undefined: never. */
      readonly staleMs: number | undefined
    }
  /** Not taken, and nothing is lost by it. */
  | { readonly kind: 'skip'; readonly why: 'own' | 'seen' | 'no-rule' }
  /** Not delivered: noted as a gap of reason 'expired'. */
  | { readonly kind: 'expired'; readonly topic: string }

/** What a bridge remembers between messages. */
export interface Memory {
  /** Whether we have just sent this ourselves (C1): for what carries no mark. */
  isEcho(arrival: Arrival): boolean
  /** Whether this retained message was taken before (C2). */
  isSeen(arrival: Arrival): boolean
}

export interface Receiver {
  /** Filters to subscribe to on the upstream, in the order of the rules. */
  readonly filters: readonly string[]
  /** The first rule whose filter matches decides. */
  judge(arrival: Arrival, nowMs: number): Verdict
}

/** Compiles the rules of one bridge. */
export function createReceiver(
  rules: readonly ReceiveRule[],
  gateway: string,
  memory: Memory,
): Receiver {
  const compiled = rules.map((rule) => ({
    filter: rule.from.replaceAll('{gateway}', gateway),
    template: compileTemplate(rule.to),
    expiresMs: rule.expiresMs,
  }))
  const judge = (arrival: Arrival, nowMs: number): Verdict => {
    const { topic } = arrival
    // What is no topic name can only come from a broken broker: no rule is meant for it.
    if (topicFault(topic) !== undefined) return { kind: 'skip', why: 'no-rule' }
    for (const { filter, template, expiresMs } of compiled) {
      const match = matchCaptures(filter, topic)
      if (match === undefined) continue
      if (isOwn(arrival, gateway) || memory.isEcho(arrival)) return { kind: 'skip', why: 'own' }
      if (arrival.retain && memory.isSeen(arrival)) return { kind: 'skip', why: 'seen' }
      const here = template({ gateway, topic, stream: '', client: '', ...match })
      const staleMs = staleFrom(arrival, expiresMs)
      if (isStale(staleMs, nowMs)) return { kind: 'expired', topic: here }
      return { kind: 'take', topic: here, staleMs }
    }
    return { kind: 'skip', why: 'no-rule' }
  }
  return { filters: [...new Set(compiled.map(({ filter }) => filter))], judge }
}

/** To be asked again right before delivery, which may be much later than the arrival. */
export function isStale(staleMs: number | undefined, nowMs: number): boolean {
  return staleMs !== undefined && nowMs >= staleMs
}

/**
 * The message expiry interval with which a taken message is published here, so that sessions which
 * sleep drop it in time as well: whole seconds, at least 1; undefined: none.
 */
export function expirySecondsLeft(staleMs: number | undefined, nowMs: number): number | undefined {
  return staleMs === undefined ? undefined : Math.max(1, Math.floor((staleMs - nowMs) / 1000))
}

function staleFrom(arrival: Arrival, expiresMs: number | undefined): number | undefined {
  const { arrivedMs, expirySeconds } = arrival
  const left = Math.min(
    expiresMs ?? Number.POSITIVE_INFINITY,
    expirySeconds === undefined ? Number.POSITIVE_INFINITY : expirySeconds * 1000,
  )
  return left === Number.POSITIVE_INFINITY ? undefined : arrivedMs + left
}

/** It names this gateway as where it comes from, in a user property or in its envelope. */
function isOwn({ userProperties, payload }: Arrival, gateway: string): boolean {
  const isNamed = userProperties.some(([name, value]) => name === 'gateway' && value === gateway)
  return isNamed || decodeEnvelope(payload)?.gateway === gateway
}
