/**
 * Which topics some persistent session wants to get also when its client is away. A message that no
 * stream takes is kept for it in the stream `default`.
 */
import { type Subscription, SubscriptionTree } from '../delivery/subscriptions.ts'

/** Stands for whoever it is: only whether somebody is there is asked. */
const SOMEBODY = Symbol('somebody')

export class Wanted {
  /** A filter stands once, however many sessions have it. */
  private readonly tree = new SubscriptionTree<typeof SOMEBODY>()
  private readonly counts = new Map<string, number>()

  add(subscription: Subscription): void {
    const { filter } = subscription
    const count = this.counts.get(filter) ?? 0
    this.counts.set(filter, count + 1)
    if (count === 0) this.tree.add(SOMEBODY, subscription)
  }

  remove(filter: string): void {
    const count = this.counts.get(filter) ?? 0
    if (count > 1) {
      this.counts.set(filter, count - 1)
    } else if (this.counts.delete(filter)) {
      this.tree.remove(SOMEBODY, filter)
    }
  }

  has(topic: string): boolean {
    return this.counts.size > 0 && this.tree.match(topic).length > 0
  }
}
