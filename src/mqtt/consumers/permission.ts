/** Topics whose answer is kept, of one membership; at the limit all are forgotten. */
const KNOWN_TOPICS_MAX = 1024

/**
 * Whether a client may get a record of a topic through one of its memberships. Asked for every
 * record of a replay, which repeats its topics: twenty rules cost 2 µs, the known answer 50 ns.
 */
export class Permission {
  private readonly known = new Map<string, boolean>()
  private readonly grants: { readonly isOpen: boolean }
  private readonly ask: (topic: string) => boolean

  constructor(grants: { readonly isOpen: boolean }, ask: (topic: string) => boolean) {
    this.grants = grants
    this.ask = ask
  }

  has(topic: string): boolean {
    if (this.grants.isOpen) return true
    const known = this.known.get(topic)
    if (known !== undefined) return known
    const answer = this.ask(topic)
    if (this.known.size >= KNOWN_TOPICS_MAX) this.known.clear()
    this.known.set(topic, answer)
    return answer
  }

  /** The rules have changed. */
  forget(): void {
    this.known.clear()
  }
}
