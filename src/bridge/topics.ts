import type { LogRecord } from '../log/log.ts'
import { compileTemplate, matchCaptures, type Template } from './template.ts'

/** A fleet repeats its topics; what is beyond is made again. */
const KNOWN_MAX = 8192

/** The topics that a forward's records get on the upstream, as bytes. */
export class UpstreamTopics {
  private readonly gateway: string
  private readonly stream: string
  private readonly filters: readonly string[]
  private readonly template: Template
  private readonly byClient: boolean
  private readonly known = new Map<string, Buffer>()

  /** `filters`: what the numbers and # of the template refer to. */
  constructor(to: string, gateway: string, stream: string, filters: readonly string[]) {
    this.gateway = gateway
    this.stream = stream
    this.filters = filters
    this.template = compileTemplate(to)
    this.byClient = to.includes('{client}')
  }

  of({ topic, client }: LogRecord): Buffer {
    const key = this.byClient ? `${topic}\u0000${client}` : topic
    const found = this.known.get(key)
    if (found !== undefined) return found
    if (this.known.size >= KNOWN_MAX) this.known.clear()
    const made = this.make(topic, client)
    this.known.set(key, made)
    return made
  }

  /** Of a batch: its records say their own topics, so the stream's name stands for them. */
  ofBatch(): Buffer {
    const { gateway, stream } = this
    const values = { gateway, topic: stream, stream, client: '', captures: [], rest: '' }
    return Buffer.from(this.template(values))
  }

  private make(topic: string, client: string): Buffer {
    const { gateway, stream } = this
    for (const filter of this.filters) {
      const match = matchCaptures(filter, topic)
      if (match !== undefined) {
        return Buffer.from(this.template({ gateway, topic, stream, client, ...match }))
      }
    }
    const none = { captures: [], rest: '' }
    return Buffer.from(this.template({ gateway, topic, stream, client, ...none }))
  }
}
