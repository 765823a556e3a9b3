/**
 * Who subscribes to what: a tree over topic levels, kept in Maps because names from the wire never
 * index a plain object. Matches are cached per topic until a subscription changes.
 */
import type { QoS } from '../../log/log.ts'

export interface Subscription {
  readonly filter: string
  readonly qos: QoS
  /** The subscriber's own messages are not sent back to it [MQTT-3.8.3-3]. */
  readonly noLocal: boolean
  /** The retain flag stays as the publisher set it [MQTT-3.3.1-12]. */
  readonly retainAsPublished: boolean
  /** MQTT 5's subscription identifier. */
  readonly id: number | undefined
}

/** How a client gets a message, its overlapping subscriptions joined [MQTT-3.3.4-2]. */
export interface Grant {
  /** The highest of the matching subscriptions. */
  readonly qos: QoS
  /** For a message of the subscriber's own: only those without No Local; undefined when none is. */
  readonly ownQos: QoS | undefined
  readonly retainAsPublished: boolean
  readonly ids: readonly number[]
}

/** One subscriber of a topic. */
export interface Match<S> extends Grant {
  readonly subscriber: S
}

/**
 * Topics whose matches are kept, and matches over all of them (some 100 bytes each); at a limit all
 * are forgotten, which costs a walk each.
 */
const CACHED_TOPICS_MAX = 20_000
const CACHED_MATCHES_MAX = 100_000

class Node<S> {
  readonly children = new Map<string, Node<S>>()
  /** By subscriber: a filter stands once per subscriber [MQTT-3.8.4-3]. */
  readonly subscribers = new Map<S, Subscription>()
}

export class SubscriptionTree<S> {
  private readonly root = new Node<S>()
  private readonly cache = new Map<string, readonly Match<S>[]>()
  private readonly mayReceive: (subscriber: S, topic: string) => boolean
  private cachedMatches = 0
  private count = 0

  /**
   * `mayReceive` is asked when a topic is matched anew, and its answer is kept with the match: a
   * message on a known topic costs nothing for it. When its answers change, `forget`.
   */
  constructor(mayReceive: (subscriber: S, topic: string) => boolean = () => true) {
    this.mayReceive = mayReceive
  }

  get size(): number {
    return this.count
  }

  /** Adds or replaces; true when the subscriber did not have the filter. */
  add(subscriber: S, subscription: Subscription): boolean {
    let node = this.root
    for (const level of subscription.filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) {
        child = new Node()
        node.children.set(level, child)
      }
      node = child
    }
    const isNew = !node.subscribers.has(subscriber)
    node.subscribers.set(subscriber, subscription)
    if (isNew) this.count++
    this.forget()
    return isNew
  }

  /** True when it was there. */
  remove(subscriber: S, filter: string): boolean {
    const levels = filter.split('/')
    const path = [this.root]
    for (const level of levels) {
      const child = path.at(-1)?.children.get(level)
      if (child === undefined) return false
      path.push(child)
    }
    if (path.at(-1)?.subscribers.delete(subscriber) !== true) return false
    for (let depth = levels.length; depth > 0; depth--) {
      const node = path[depth] as Node<S>
      if (node.subscribers.size > 0 || node.children.size > 0) break
      path[depth - 1]?.children.delete(levels[depth - 1] as string)
    }
    this.count--
    this.forget()
    return true
  }

  /** Matches every topic anew. */
  forget(): void {
    this.cache.clear()
    this.cachedMatches = 0
  }

  /** Everyone who gets a message on `topic`, each once. The list is shared: do not change it. */
  match(topic: string): readonly Match<S>[] {
    const known = this.cache.get(topic)
    if (known !== undefined) return known
    const found = new Map<S, Subscription[]>()
    walk(this.root, topic.split('/'), 0, topic.startsWith('$'), found)
    const matches = [...found]
      .filter(([subscriber]) => this.mayReceive(subscriber, topic))
      .map(([subscriber, subscriptions]) => ({ subscriber, ...joined(subscriptions) }))
    const full =
      this.cache.size >= CACHED_TOPICS_MAX ||
      this.cachedMatches + matches.length > CACHED_MATCHES_MAX
    if (full) this.forget()
    this.cachedMatches += matches.length
    this.cache.set(topic, matches)
    return matches
  }
}

function walk<S>(
  node: Node<S>,
  levels: readonly string[],
  depth: number,
  reserved: boolean,
  found: Map<S, Subscription[]>,
): void {
  // Wildcards at the first level do not match topics that begin with $ [MQTT-4.7.2-1].
  const wild = depth > 0 || !reserved
  if (wild) collect(node.children.get('#'), found)
  const level = levels[depth]
  if (level === undefined) {
    collect(node, found)
    return
  }
  const exact = node.children.get(level)
  if (exact !== undefined) walk(exact, levels, depth + 1, reserved, found)
  const single = wild ? node.children.get('+') : undefined
  if (single !== undefined) walk(single, levels, depth + 1, reserved, found)
}

function collect<S>(node: Node<S> | undefined, found: Map<S, Subscription[]>): void {
  if (node === undefined) return
  for (const [subscriber, subscription] of node.subscribers) {
    const list = found.get(subscriber)
    if (list === undefined) found.set(subscriber, [subscription])
    else list.push(subscription)
  }
}

/** What overlapping subscriptions of one client come to. */
export function joined(subscriptions: readonly Subscription[]): Grant {
  let qos: QoS = 0
  let ownQos: QoS | undefined
  for (const subscription of subscriptions) {
    if (subscription.qos > qos) qos = subscription.qos
    if (!subscription.noLocal && subscription.qos >= (ownQos ?? 0)) ownQos = subscription.qos
  }
  return {
    qos,
    ownQos,
    retainAsPublished: subscriptions.some(({ retainAsPublished }) => retainAsPublished),
    ids: subscriptions.flatMap(({ id }) => (id === undefined ? [] : [id])),
  }
}
