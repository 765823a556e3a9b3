import type { FoundRepair } from '../repair/find.ts'
import type { Checkpointed, KeeperOrder } from '../writer/protocol.ts'
import type { FolderSurvey } from './survey.ts'

export interface KeeperOptions {
  readonly dataDir: string
  /** Names in the log's order. */
  readonly streams: readonly string[]
}

export type ToKeeper =
  | KeeperOrder
  /** Answered by 'surveyed'. */
  | { readonly kind: 'survey' }
  /** Answered by 'removed'. `file` is the stream's oldest segment, and a finished one. */
  | { readonly kind: 'remove'; readonly stream: number; readonly file: string }
  /** Answered by 'repair'. A reader met damage in this segment. */
  | { readonly kind: 'repair'; readonly stream: number; readonly file: string }
  | { readonly kind: 'close' }

/** What the keeper says to a question; in the order of the questions. */
export type KeeperAnswer =
  /** By the log's order of streams. */
  | { readonly kind: 'surveyed'; readonly streams: readonly FolderSurvey[] }
  /** `failure`: why the segment is still there. */
  | { readonly kind: 'removed'; readonly failure: string | undefined }
  | { readonly kind: 'repair'; readonly found: FoundRepair }

export type FromKeeper =
  | KeeperAnswer
  /** The keeper has this full segment open: the writer's handle may go. */
  | { readonly kind: 'holding'; readonly stream: number; readonly file: string }
  | Checkpointed
  | { readonly kind: 'sealed'; readonly stream: number; readonly file: string }
  /** Something did not work; nothing is lost by it. */
  | { readonly kind: 'trouble'; readonly stream: number; readonly sentence: string }
  | { readonly kind: 'closed' }
