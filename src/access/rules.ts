/**
 * The rules of the configuration, made ready to be asked. A rule matches a request by user, topic
 * and action, and the first that matches wins; nothing matches: denied. A rule that allows nothing
 * matches both actions and denies them, which is how an exception is written above a wider rule.
 */
import { hasPlaceholder, substituted, wholeStream } from './patterns.ts'

export type AccessAction = 'publish' | 'subscribe'

export interface AccessRule {
  /** A user's name, or "*" for everyone, those without a name included. */
  readonly user: string
  readonly allow: readonly AccessAction[]
  /** Topic filters; `{client}` and `{user}` stand for the client's own. */
  readonly topics: readonly string[]
}

/** A rule for one client. */
export interface ClientRule {
  readonly publish: boolean
  readonly subscribe: boolean
  /** It allows nothing: what it matches is denied. */
  readonly denies: boolean
  /** As levels. */
  readonly patterns: readonly (readonly string[])[]
}

/** Everybody's rules; replaced as a whole at a reload, while those who were asked it stay. */
export class RuleBook {
  /** Everything but the gateway's own names is allowed. */
  isOpen = true
  /** Rises with every change, so that what was worked out before is known to be old. */
  generation = 0
  private rules: readonly AccessRule[] = []
  /** Patterns without placeholders are the same for all clients: split once. */
  private levels = new Map<string, readonly string[]>()

  /** Undefined rules: everything is open. */
  replace(rules: readonly AccessRule[] | undefined): void {
    this.isOpen = rules === undefined
    this.rules = rules ?? []
    this.levels = new Map()
    this.generation++
  }

  /** The rules for one client, in their order; those that cannot match it are left out. */
  rulesOf(client: string, user: string | undefined): readonly ClientRule[] {
    return this.rules
      .filter((rule) => rule.user === '*' || rule.user === user)
      .map((rule) => ({
        publish: rule.allow.includes('publish'),
        subscribe: rule.allow.includes('subscribe'),
        denies: rule.allow.length === 0,
        patterns: rule.topics.flatMap((topic) => this.levelsOf(topic, client, user)),
      }))
      .filter(({ patterns }) => patterns.length > 0)
  }

  private levelsOf(
    topic: string,
    client: string,
    user: string | undefined,
  ): readonly (readonly string[])[] {
    if (hasPlaceholder(topic)) {
      const text = substituted(topic, client, user)
      return text === undefined ? [] : [wholeStream(text).split('/')]
    }
    let levels = this.levels.get(topic)
    if (levels === undefined) {
      levels = wholeStream(topic).split('/')
      this.levels.set(topic, levels)
    }
    return [levels]
  }
}
