/** What one client gets of a walk over retained messages. */
import type { LogRecord } from '../../log/log.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import type { RetainedWalk } from './walk.ts'

export interface Reader {
  readonly clientId: string
  /** Access, asked again for each message. */
  mayReceive(topic: string): boolean
}

/**
 * Pages of at least one message, each in a loop turn of its own, so that a client that asks for
 * 100,000 messages delays nobody. Rejects with `storage`.
 */
export async function* retainedPages(
  walk: RetainedWalk,
  { noLocal }: Subscription,
  { clientId, mayReceive }: Reader,
): AsyncGenerator<readonly LogRecord[], void> {
  while (!walk.isDone) {
    const page = walk.page()
    const records = page instanceof Promise ? await page : page
    // No Local speaks of whoever published it, whenever that was [MQTT-3.8.3-3].
    const own = records.filter(
      ({ topic, client }) => !(noLocal && client === clientId) && mayReceive(topic),
    )
    if (own.length > 0) yield own
    if (!walk.isDone) await new Promise((resolve) => setImmediate(resolve))
  }
}
