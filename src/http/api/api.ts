/**
 * The log over HTTP: read it, follow it, add to it, see and move cursors, list gaps. docs/HTTP.md
 * is its manual, /v1/openapi.json its description for programs.
 *
 * H1. Memory is bounded whoever asks: records go out page by page as the client takes them; a
 *     follower that is slow falls behind into the log; bodies are at most 1 MiB, eight at once.
 * H2. All records of a request are refused, or all are appended in their order; the answer comes
 *     when the stream's ack rule holds for all of them.
 * H3. Followers cost ingest at most a tenth of the main thread, however many there are.
 */
import type { FastifyInstance } from 'fastify'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { EventLog } from '../../log/log.ts'
import { type AppendLimits, addAppendRoute } from './append.ts'
import { addCursorRoutes } from './cursors.ts'
import { addFollowRoute } from './follow.ts'
import { addGapRoute } from './gaps.ts'
import { addRecordsRoute } from './records.ts'
import { addStreamRoute } from './streams.ts'

export interface ApiParts {
  readonly log: EventLog
  readonly limits: AppendLimits
  /** Whether a message of this topic may be retained. */
  readonly admitsRetained: (topic: string) => boolean
}

export interface ApiContext extends ApiParts {
  readonly clock: Clock
  readonly logger: Logger
}

export function addApiRoutes(app: FastifyInstance, context: ApiContext): void {
  addStreamRoute(app, context)
  addRecordsRoute(app, context)
  addFollowRoute(app, context)
  addAppendRoute(app, context)
  addCursorRoutes(app, context)
  addGapRoute(app, context)
}
