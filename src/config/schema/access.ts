import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { accessFilter, compact, fileName, flag, oneOf, text } from '../leaves.ts'

export const accessActions = ['publish', 'subscribe'] as const
export type AccessAction = (typeof accessActions)[number]

export interface AccessRule {
  /** A user's name, or "*" for everyone. */
  readonly user: string
  readonly allow: readonly AccessAction[]
  /** Topic filters; `{client}` and `{user}` stand for the client's own. */
  readonly topics: readonly string[]
}

export interface AccessConfig {
  /** Clients may connect without a name and password. */
  readonly anonymous: boolean
  /** Lines `user:hash`. */
  readonly passwordFile?: string
  /** The first match wins; nothing matches: denied. */
  readonly rules: readonly AccessRule[]
}

// A rule has no defaults: a forgotten key must not grant anything.
const ruleSchema = z.strictObject({
  user: text('a user name, or "*" for everyone'),
  allow: z.array(oneOf(accessActions)),
  topics: z.array(accessFilter()),
})

export const accessSchema = z
  .strictObject({
    anonymous: flag().default(defaults.access.anonymous),
    password_file: fileName().optional(),
    rule: z.array(ruleSchema).default([]),
  })
  .transform(
    (table): AccessConfig =>
      compact({
        anonymous: table.anonymous,
        passwordFile: table.password_file,
        rules: table.rule,
      }),
  )
