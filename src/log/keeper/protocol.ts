import type { KeeperOrder } from '../writer/protocol.ts'

export interface KeeperOptions {
  readonly dataDir: string
  /** Names in the log's order. */
  readonly streams: readonly string[]
}

export type ToKeeper = KeeperOrder | { readonly kind: 'close' }

export type FromKeeper =
  /** The keeper has this full segment open: the writer's handle may go. */
  | { readonly kind: 'holding'; readonly stream: number; readonly file: string }
  | { readonly kind: 'checkpointed'; readonly stream: number; readonly caughtUp: boolean }
  | { readonly kind: 'sealed'; readonly stream: number; readonly file: string }
  /** Something did not work; nothing is lost by it. */
  | { readonly kind: 'trouble'; readonly stream: number; readonly sentence: string }
  | { readonly kind: 'closed' }
