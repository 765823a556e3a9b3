/**
 * Sessions at the start of the gateway. The documents say how far each had come; a cursor that
 * stands elsewhere was moved by somebody, or written later, and what is behind the end of the log
 * was lost with it.
 */
import { messageOf } from '../../base/errors.ts'
import { asPosition, type Cursor, type Position } from '../../log/log.ts'
import { Session, sessionOfCursor } from './session.ts'
import {
  decodePlace,
  decodeSession,
  PLACE_KIND,
  SESSION_KIND,
  type StoredPlace,
} from './session-document.ts'
import type { SessionsParts } from './sessions-parts.ts'
import { now } from './time-away.ts'

/** Until the client connects and says how much it takes. */
const WINDOW_SIZE = 1

/** All of them, each as if its client were away. */
export async function loadSessions(parts: SessionsParts): Promise<readonly Session[]> {
  const { log, logger } = parts
  const sessions = new Map<string, Session>()
  for await (const { key, value } of log.state.documents.load(SESSION_KIND)) {
    const stored = decoded(() => decodeSession(value), key, parts)
    if (stored === undefined) continue
    const session = new Session(key, stored.expiryS, WINDOW_SIZE)
    for (const { subscription, since } of stored.filters) session.filters.set(subscription, since)
    session.owner = stored.owner
    session.left = now(parts)
    sessions.set(key, session)
  }
  const places = new Map<string, StoredPlace>()
  for await (const { key, value } of log.state.documents.load(PLACE_KIND)) {
    const session = sessions.get(key)
    const stored = decoded(() => decodePlace(value), key, parts)
    if (session === undefined || stored === undefined) {
      log.state.documents.put([{ kind: PLACE_KIND, key, value: undefined }])
      continue
    }
    places.set(key, stored)
    restore(session, stored, parts)
  }
  await joinCursors(sessions, places, parts)
  if (sessions.size > 0) logger.info({ sessions: sessions.size }, 'sessions are there again')
  return [...sessions.values()]
}

function restore(
  session: Session,
  stored: StoredPlace,
  { log, ends: endsNow }: SessionsParts,
): void {
  const ends = endsNow()
  for (const { name } of log.streams) {
    const next = stored.next.get(name)
    if (next === undefined) continue
    // A stream that is out of service has no end to compare with, and keeps its place.
    session.next.set(name, asPosition(Math.min(next, ends.get(name) ?? next)))
  }
  const entries = stored.entries.filter(
    ({ awaited, stream, position }) =>
      awaited === 'pubcomp' || awaited === 'nothing' || position < (ends.get(stream) ?? 0),
  )
  session.window.restore(entries, stored.lastPacketId)
  // Connected when the gateway ended, by its last word: what it was sent since is not known.
  if (stored.left === undefined) session.dupBefore = new Map(ends)
  else session.left = stored.left
}

async function joinCursors(
  sessions: ReadonlyMap<string, Session>,
  places: ReadonlyMap<string, StoredPlace>,
  { log, logger }: SessionsParts,
): Promise<void> {
  const { cursors } = log.state
  for (const cursor of cursors.list()) {
    const [clientId, stream] = sessionOfCursor(cursor.name) ?? []
    if (clientId === undefined || stream === undefined) continue
    const session = sessions.get(clientId)
    if (session?.next.has(stream) === true) {
      join(session, stream, cursor, places.get(clientId)?.timeMs ?? 0)
    } else {
      await cursors.remove(cursor.name)
    }
  }
  for (const session of sessions.values()) {
    for (const stream of session.next.keys()) {
      const name = session.cursorName(stream)
      if (cursors.get(name) !== undefined) continue
      logger.warn({ cursor: name }, 'the cursor of a session is not there: it begins at the end')
      await cursors.open(name, stream, 'stream', { kind: 'latest' })
      session.next.set(stream, placeOf(cursors.get(name)) ?? (0 as Position))
    }
  }
}

/**
 * A cursor ahead was moved over a gap or by a seek, or the document is older than it: either way
 * all before it is settled. A cursor behind was written earlier; or it was moved back, which it was
 * when it is newer than the document.
 */
function join(session: Session, stream: string, cursor: Cursor, notedMs: number): void {
  const place = placeOf(cursor)
  const floor = session.floor(stream)
  if (place === undefined || floor === undefined || place === floor) return
  const next = session.next.get(stream) ?? place
  if (place > floor) {
    session.window.passed(stream, place)
    if (place > next) session.next.set(stream, place)
  } else if (cursor.updatedMs > notedMs) {
    session.window.abandon(stream)
    session.filters.forgetSince()
    session.next.set(stream, place)
  }
}

function placeOf(cursor: Cursor | undefined): Position | undefined {
  return cursor?.place.kind === 'stream' ? cursor.place.next : undefined
}

function decoded<T>(decode: () => T, client: string, { logger }: SessionsParts): T | undefined {
  try {
    return decode()
  } catch (thrown) {
    const reason = messageOf(thrown)
    logger.error({ client, reason }, 'a stored session cannot be read: it begins anew')
    return undefined
  }
}
