/** Which stream and partition a topic goes to, worked out once per topic and kept. */
import { present } from '../base/assert.ts'
import { FALLBACK_STREAM } from './fallback.ts'
import type { ClientName, Route, StreamSettings } from './log.ts'
import { Partitioner } from './partition.ts'
import { topicMatches } from './topics.ts'

/** Bounds of what is kept; past one everything is forgotten and worked out again when it comes. */
const ROUTES_MAX = 65_536
const ROUTE_BYTES_MAX = 8 * 1024 * 1024
/** Refs are 32 bits wide in an entry. When all are used up, 0 says "look it up by name". */
const REF_END = 2 ** 32

export class Routes {
  private readonly streams: readonly StreamSettings[]
  private readonly partitioners: readonly Partitioner[]
  private readonly routes = new Map<string, Route>()
  /** Into the built-in stream, of topics that no stream takes. */
  private readonly fallbacks = new Map<string, Route>()
  private readonly encoder = new TextEncoder()
  private nextRef = 1
  private sizeBytes = 0

  constructor(streams: readonly StreamSettings[]) {
    this.streams = streams
    this.partitioners = streams.map(({ key, partitions }) => new Partitioner(key, partitions))
  }

  route(topic: string): Route {
    const known = this.routes.get(topic)
    if (known !== undefined) return known
    const made = this.make(topic)
    if (this.routes.size >= ROUTES_MAX || this.sizeBytes >= ROUTE_BYTES_MAX) {
      this.routes.clear()
      this.fallbacks.clear()
      this.sizeBytes = 0
    }
    this.routes.set(topic, made)
    this.sizeBytes += topic.length + made.topicBytes.length
    return made
  }

  /** The same where a stream takes the topic, else its route into the built-in stream. */
  fallbackRoute(topic: string): Route {
    const route = this.route(topic)
    if (route.stream !== undefined) return route
    const known = this.fallbacks.get(topic)
    if (known !== undefined) return known
    const streamIndex = this.streams.findIndex(({ name }) => name === FALLBACK_STREAM)
    const stream = present(this.streams[streamIndex], 'the built-in stream')
    const partition = this.partitioners[streamIndex]?.fixed(topic)
    const made: Route = { ...route, stream, streamIndex, partition }
    // A route of it is kept, and goes when all are forgotten: so these have the same bound.
    this.fallbacks.set(topic, made)
    return made
  }

  client(name: string): ClientName {
    return { name, bytes: this.encoder.encode(name), ref: this.ref() }
  }

  private make(topic: string): Route {
    const streamIndex = this.streams.findIndex((stream) =>
      stream.topics.some((filter) => topicMatches(filter, topic)),
    )
    return {
      topic,
      topicBytes: this.encoder.encode(topic),
      ref: this.ref(),
      stream: this.streams[streamIndex],
      streamIndex,
      partition: this.partitioners[streamIndex]?.fixed(topic),
    }
  }

  private ref(): number {
    return this.nextRef < REF_END ? this.nextRef++ : 0
  }
}
