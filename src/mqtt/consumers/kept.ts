/**
 * The consumer subscriptions of persistent sessions: what a client was a member of is taken up
 * again when it comes back. One document a client, JSON; written before SUBACK (E1).
 */
import { parseConsumerName } from '../../consumers/consumers.ts'
import type { DocumentWrite, EventLog, QoS } from '../../log/log.ts'
import type { ConsumerSubscription } from './subscription.ts'

const KIND = 'session-consumers'

type Stored = Omit<ConsumerSubscription, 'name' | 'id'> & { readonly id?: number }

export class KeptSubscriptions {
  private readonly log: EventLog
  private readonly byClient = new Map<string, Map<string, ConsumerSubscription>>()

  constructor(log: EventLog) {
    this.log = log
  }

  /** Takes up what an earlier run kept, of sessions that are there still. */
  async load(isThere: (clientId: string) => boolean): Promise<void> {
    const gone: DocumentWrite[] = []
    for await (const { key, value } of this.log.state.documents.load(KIND)) {
      if (isThere(key)) this.byClient.set(key, parsed(value))
      else gone.push({ kind: KIND, key, value: undefined })
    }
    if (gone.length > 0) this.log.state.documents.put(gone)
  }

  clients(): Iterable<string> {
    return this.byClient.keys()
  }

  of(clientId: string): readonly ConsumerSubscription[] {
    return [...(this.byClient.get(clientId)?.values() ?? [])]
  }

  get(clientId: string, filter: string): ConsumerSubscription | undefined {
    return this.byClient.get(clientId)?.get(filter)
  }

  /** On disk when it resolves. Rejects with `storage`. */
  async add(clientId: string, subscription: ConsumerSubscription): Promise<void> {
    const own = this.byClient.get(clientId) ?? new Map<string, ConsumerSubscription>()
    own.set(subscription.filter, subscription)
    this.byClient.set(clientId, own)
    await this.log.state.documents.putNow([this.write(clientId)])
  }

  /** On disk when it resolves. Rejects with `storage`. */
  async remove(clientId: string, filter: string): Promise<void> {
    const own = this.byClient.get(clientId)
    if (own?.delete(filter) !== true) return
    if (own.size === 0) this.byClient.delete(clientId)
    await this.log.state.documents.putNow([this.write(clientId)])
  }

  /** The session has ended. */
  forget(clientId: string): void {
    if (this.byClient.delete(clientId)) this.log.state.documents.put([this.write(clientId)])
  }

  private write(clientId: string): DocumentWrite {
    const rows = this.of(clientId).map(
      ({ filter, qos, retainAsPublished, id, request }): Stored => {
        return { filter, qos, retainAsPublished, request, ...(id === undefined ? {} : { id }) }
      },
    )
    const value = rows.length === 0 ? undefined : new TextEncoder().encode(JSON.stringify(rows))
    return { kind: KIND, key: clientId, value }
  }
}

/** What this file wrote. */
function parsed(bytes: Uint8Array): Map<string, ConsumerSubscription> {
  const rows = JSON.parse(new TextDecoder().decode(bytes)) as readonly Stored[]
  const found = new Map<string, ConsumerSubscription>()
  for (const { filter, qos, retainAsPublished, id, request } of rows) {
    const name = parseConsumerName(filter)
    if (name === undefined || name.kind === 'invalid') continue
    const { from, streamOffset, streamPartition } = request
    found.set(filter, {
      filter,
      name,
      qos: qos as QoS,
      retainAsPublished,
      id,
      request: { from, streamOffset, streamPartition },
    })
  }
  return found
}
