/**
 * A log on real files that random operations are done to, and the plain model that says what each
 * must give. An operation waits for all it started, so that a fault shows in the operation that
 * made it.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type CursorPlace,
  type LogRecord,
  type Position,
  type ReadQuery,
  type Start,
} from '../../../src/log/log.ts'
import { type OpenedLog, openLog } from '../../../src/log/open.ts'
import { Retention, type RetentionRule } from '../../../src/log/retention/retention.ts'
import { segmentNames } from '../../../src/log/writer/recovery.ts'
import { type Appended, append, type Message, readPage } from '../../contract/event-log-support.ts'
import { collectingLogger } from '../../support/logger.ts'
import { stream } from '../given.ts'
import { type CursorModel, cursorModel, type Kept, placeText, StreamModel } from './stream-model.ts'

const START_MS = Date.UTC(2026, 2, 1)
const HOUR_MS = 3_600_000
const SEGMENT_BYTES = 24 * 1024
/** Few records fill each of them. */
const TINY = {
  segmentBytes: SEGMENT_BYTES,
  tailBytes: 8 * 1024,
  slabBytes: 8 * 1024,
  walBytesMax: 32 * 1024,
}
const STREAMS = [
  stream('gap', { partitions: 3 }),
  stream('hold', { partitions: 2, key: { kind: 'client' }, ackAfter: 'write' }),
  stream('fast', { partitions: 2, key: { kind: 'round-robin' }, ackAfter: 'receive' }),
]
/** What their retention demands; `fast` has none. */
const RULES = new Map<string, RetentionRule>([
  ['gap', { onLag: 'gap', ageMs: 30 * HOUR_MS, sizeBytes: 8 * SEGMENT_BYTES }],
  ['hold', { onLag: 'refuse', sizeBytes: 6 * SEGMENT_BYTES }],
])
const CURSORS = ['gap:a', 'gap:b', 'hold:c']
const PAYLOAD_SIZES = [0, 1, 40, 40, 200, 200, 900, 5000]
/** Seals and removals of a moment before are through by then, on any machine. */
const QUIET_MS_MAX = 3000
/** Of one read: pages may hold a single record. */
const PAGES_MAX = 8
const BIG = 0x1_0000_0000

interface Started {
  readonly appended: Appended
  readonly message: Message
}

export class ModelRun {
  /** The operation that was begun last. */
  last = 'none'
  private readonly counts: Map<string, number>
  private readonly random: SeededRandom
  private readonly folder: string
  private readonly clock = new ManualClock(START_MS)
  private readonly models = new Map(
    STREAMS.map((settings) => [
      settings.name,
      new StreamModel(settings, () => this.opened.state.boots()),
    ]),
  )
  private readonly cursors = new Map<string, CursorModel>()
  private readonly followed = new Map<string, number>()
  /** Found where nothing can be thrown. */
  private readonly faults: string[] = []
  private log: OpenedLog | undefined
  private retention: Retention | undefined
  private dataDir: string
  private lives = 0
  private lastBoot = 0
  private epoch = 1
  private freeBytes = BIG

  /** `counts` is told how many operations of each kind there were. */
  constructor(random: SeededRandom, folder: string, counts: Map<string, number>) {
    this.random = random
    this.counts = counts
    this.folder = folder
    this.dataDir = path.join(folder, 'life-0')
  }

  async begin(): Promise<void> {
    await this.open()
    for (const name of CURSORS) {
      const own = name.slice(0, name.indexOf(':'))
      const kind = name === 'gap:b' ? 'partitions' : 'stream'
      const made = await this.opened.state.cursors.open(name, own, kind, { kind: 'earliest' })
      this.cursors.set(name, cursorModel(made))
    }
  }

  async step(): Promise<void> {
    const chance = this.random.below(1000)
    if (chance < 420) return await this.counted('append', () => this.appendSome())
    if (chance < 640) return await this.counted('read', () => this.readSome())
    if (chance < 700) return await this.counted('locate', () => this.locateSome())
    if (chance < 740) return await this.counted('bounds', () => this.compareBounds())
    if (chance < 860) return await this.counted('cursor', () => this.moveCursor())
    if (chance < 890) return await this.counted('time', () => this.moveTime())
    if (chance < 930) return await this.counted('retention', () => this.retain())
    if (chance < 960) return await this.counted('full', () => this.turnAway())
    if (chance < 982) return await this.counted('reopen', () => this.reopen())
    return await this.counted('crash', () => this.crash())
  }

  /** Everything that is there, and closes. */
  async end(): Promise<void> {
    for (const name of this.models.keys()) {
      await this.compare(name, { from: asPosition(0) }, Number.POSITIVE_INFINITY)
    }
    await this.close()
  }

  async close(): Promise<void> {
    await this.retention?.stop()
    await this.log?.close()
    this.log = undefined
  }

  private get opened(): OpenedLog {
    if (this.log === undefined) throw new Error('the log is closed')
    return this.log
  }

  private async counted(what: string, work: () => Promise<void>): Promise<void> {
    this.last = what
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
    await work()
    expect(this.faults).toEqual([])
  }

  private async open(): Promise<void> {
    const { dataDir, clock } = this
    const logger = collectingLogger()
    const log = await openLog({
      dataDir,
      streams: STREAMS,
      clock,
      clockProbe: () => 'rtc',
      // Looked at where the clock was set, and at no other moment.
      clockCheckMs: 2 ** 30,
      logger,
      ...TINY,
    })
    this.log = log
    expect(log.boot).toBeGreaterThan(this.lastBoot)
    expect(log.state.epoch).toBe(this.epoch)
    log.follow((records) => this.follow(records))
    this.lastBoot = log.boot
    this.followed.clear()
    this.epoch = log.state.epoch
    this.retention = new Retention({
      log,
      rules: RULES,
      minFree: { kind: 'bytes', bytes: SEGMENT_BYTES },
      dataDir,
      clock,
      logger,
      disk: async () => ({ freeBytes: this.freeBytes, totalBytes: BIG }),
      intervalMs: 2 ** 30,
      commitBytes: Number.MAX_SAFE_INTEGER,
    })
  }

  /** L3: each record once, in position order. */
  private follow(records: readonly LogRecord[]): void {
    for (const { stream: name, position } of records) {
      if ((this.followed.get(name) ?? position) !== position) {
        this.faults.push(`a follower got ${position} of ${name} out of turn`)
      }
      this.followed.set(name, position + 1)
    }
  }

  private modelOf(name: string): StreamModel {
    const model = this.models.get(name)
    if (model === undefined) throw new Error(`no stream ${name}`)
    return model
  }

  private anyModel(): StreamModel {
    return this.random.pick([...this.models.values()])
  }

  private start(name: string): Started {
    const { random } = this
    const message: Message = {
      topic: `${name}/${random.pick(['a', 'a/b', 'b', 'c/d', 'ü/😀'])}`,
      client: `c${random.below(5)}`,
      qos: random.pick([0, 1, 2]),
      retain: random.oneIn(5),
      properties: Buffer.alloc(random.oneIn(4) ? random.below(50) : 0, random.below(256)),
      payload: Buffer.alloc(random.pick(PAYLOAD_SIZES), random.below(256)),
    }
    return { appended: append(this.opened, message), message }
  }

  private burst(): Started[] {
    const started: Started[] = []
    for (let i = this.random.below(20); i >= 0; i--) {
      started.push(this.start(this.random.pick([...this.models.keys()])))
      if (this.random.oneIn(6)) this.opened.flush()
      if (this.random.oneIn(3)) this.clock.advance(this.random.below(5000))
    }
    return started
  }

  private async appendSome(): Promise<void> {
    await this.settle(this.burst())
  }

  /** Into the model goes what was asked; of the answer only the numbers and the time. */
  private async settle(started: readonly Started[]): Promise<void> {
    for (const { appended, message } of started) {
      expect(await appended.settled).toBe('kept')
      const {
        stream: name,
        position,
        partition,
        offset,
        timeMs,
        boot,
        monotonicUs,
      } = appended.record
      const fault = this.modelOf(name).add({
        position,
        partition,
        offset,
        topic: message.topic,
        client: message.client ?? '',
        qos: message.qos ?? 1,
        retain: message.retain ?? false,
        timeMs,
        boot,
        monotonicUs,
        properties: Buffer.from(message.properties ?? '').toString('base64'),
        payload: Buffer.from(message.payload ?? '').toString('base64'),
      })
      expect(fault).toBeUndefined()
    }
  }

  private async readSome(): Promise<void> {
    const { random } = this
    const model = this.anyModel()
    const filters = ['#', 'a', 'a/#', '+/b', 'c/+', 'none/#']
    await this.compare(model.settings.name, {
      from: asPosition(random.below(model.end + 1)),
      recordsMax: random.pick([3, 30, 1000]),
      bytesMax: random.pick([1, 5000, 1_000_000]),
      ...(random.oneIn(3) && { partition: asPartition(random.below(model.settings.partitions)) }),
      ...(random.oneIn(3) && { filters: [`${model.settings.name}/${random.pick(filters)}`] }),
    })
  }

  /** Reads some pages and compares all that they have looked at. */
  private async compare(
    name: string,
    query: Partial<ReadQuery> & { readonly from: Position },
    pagesMax = PAGES_MAX,
  ): Promise<void> {
    const model = this.modelOf(name)
    const found: LogRecord[] = []
    let next = query.from
    for (let pages = 0; pages < pagesMax; pages++) {
      const page = await readPage(this.opened, name, { ...query, from: next })
      found.push(...page.records)
      expect(page.end).toBe(model.end)
      next = page.next
      if (next >= page.end) break
    }
    const wanted = model.read(query).filter(({ position }) => position < next)
    expect(found.map(keptOf)).toEqual(wanted)
  }

  private async locateSome(): Promise<void> {
    const model = this.anyModel()
    const start = this.anyStart(model)
    const found = await this.opened.locate(model.settings.name, start)
    if (start.kind === 'time' && !model.isOrdered) {
      expect(found).toBeGreaterThanOrEqual(model.first)
      expect(found).toBeLessThanOrEqual(model.end)
    } else expect(found, JSON.stringify(start)).toBe(model.locate(start))
  }

  private anyStart(model: StreamModel): Start {
    const { random } = this
    switch (random.below(4)) {
      case 0:
        return { kind: 'earliest' }
      case 1:
        return { kind: 'latest' }
      case 2: {
        const near = model.kept[random.below(model.end)]
        const nearMs = near === undefined ? START_MS : model.shownMs(near)
        return { kind: 'time', timeMs: nearMs + random.below(3) - 1 }
      }
      default: {
        const { partition, end } = random.pick(model.partitionBounds())
        const offset = asOffset(random.below(end + 1))
        return { kind: 'offset', partition: asPartition(partition), offset }
      }
    }
  }

  private async compareBounds(): Promise<void> {
    for (const [name, model] of this.models) {
      const bounds = await this.opened.bounds(name)
      expect([bounds.first, bounds.end]).toEqual([model.first, model.end])
      expect(bounds.partitions).toEqual(model.partitionBounds())
      const [oldest] = model.kept.slice(model.first, model.first + 1)
      const newest = model.kept.at(-1)
      expect(bounds.firstTimeMs).toBe(oldest && model.shownMs(oldest))
      expect(bounds.lastTimeMs).toBe(newest && model.shownMs(newest))
      for (let at = Math.max(model.first, model.end - 20); at < model.end; at++) {
        const recent = this.opened.recent(name, asPosition(at))
        if (recent?.inMemory === true) {
          const timeMs = model.kept[at]?.timeMs
          expect({ ...keptOf(recent), timeMs }).toEqual(model.kept[at])
        }
      }
    }
  }

  private async moveCursor(): Promise<void> {
    const { random } = this
    const cursor = random.pick([...this.cursors.values()])
    const model = this.modelOf(cursor.stream)
    const { cursors } = this.opened.state
    if (random.oneIn(4)) {
      const start = this.anyStart(model)
      if (start.kind === 'time' && !model.isOrdered) return
      cursor.place = (await cursors.seek(cursor.name, start)).place
      cursor.possible = [cursor.place]
      expect(placeText(cursor.place)).toBe(placeText(soughtPlace(model, cursor.place, start)))
    } else {
      const place = this.ahead(cursor, model)
      cursor.place = place
      if (random.oneIn(2)) {
        await cursors.commitNow(cursor.name, place)
        cursor.possible = [place]
      } else {
        cursors.commit(cursor.name, place)
        cursor.possible.push(place)
      }
    }
    expect(placeText(cursors.get(cursor.name)?.place)).toBe(placeText(cursor.place))
    expect((await cursors.lag(cursor.name)).records).toBe(model.lagOf(cursor.place))
  }

  /** Somewhere between where the cursor stands and the end. */
  private ahead({ place }: CursorModel, model: StreamModel): CursorPlace {
    const between = (from: number, end: number): number =>
      from + this.random.below(Math.max(0, end - from) + 1)
    if (place.kind === 'stream') {
      return { kind: 'stream', next: asPosition(between(place.next, model.end)) }
    }
    const next = model.partitionBounds().map(({ partition, first, end }) => {
      const number = asPartition(partition)
      return [number, asOffset(between(place.next.get(number) ?? first, end))] as const
    })
    return { kind: 'partitions', next: new Map(next) }
  }

  /** Hours pass, or the wall clock is set: forward, a little back, or to a wrong century. */
  private async moveTime(): Promise<void> {
    const { random, clock } = this
    const rightMs = clock.now()
    switch (random.below(5)) {
      case 0:
        clock.step(rightMs + random.below(HOUR_MS))
        break
      case 1:
        clock.step(rightMs - random.below(HOUR_MS))
        break
      case 2:
        await this.wrongCentury(random.pick([0, Date.UTC(2100, 0, 1)]))
        break
      default:
        clock.advance(random.below(6 * HOUR_MS))
    }
    await expect.poll(() => Math.abs(this.clockError()), { interval: 1 }).toBeLessThanOrEqual(500)
  }

  /** By how much the row of this boot differs from the clock, once that was looked at. */
  private clockError(): number {
    const { opened, clock } = this
    opened.time.check()
    const { offsetMs = 0 } = opened.state.boots().get(opened.boot) ?? {}
    return offsetMs + clock.monotonicUs() / 1000 - clock.now()
  }

  /** A clock that is lost for a while removes nothing by age, and the records show right times. */
  private async wrongCentury(wrongMs: number): Promise<void> {
    const { clock } = this
    const beganMs = clock.now()
    const beganUs = clock.monotonicUs()
    clock.step(wrongMs)
    this.opened.time.check()
    await this.settle(this.burst())
    await this.retain()
    clock.step(beganMs + (clock.monotonicUs() - beganUs) / 1000)
  }

  private async retain(): Promise<void> {
    const firsts = new Map([...this.models].map(([name, { first }]) => [name, first]))
    this.freeBytes = this.random.oneIn(6) ? 0 : BIG
    await this.retention?.run()
    for (const [name, model] of this.models) {
      const was = firsts.get(name) ?? 0
      const { first } = await this.opened.bounds(name)
      expect(first).toBeGreaterThanOrEqual(was)
      // R1: the last record stays.
      if (model.end > 0) expect(first).toBeLessThan(model.end)
      model.first = first
    }
    for (const cursor of this.cursors.values())
      this.passOver(cursor, firsts.get(cursor.stream) ?? 0)
    await this.refusesWhileFull()
    await this.compareBounds()
  }

  /** G3: what a cursor had not read and is gone is a gap of it, and it stands behind. */
  private passOver(cursor: CursorModel, firstBefore: number): void {
    const model = this.modelOf(cursor.stream)
    const { cursors, gaps } = this.opened.state
    const now = cursors.get(cursor.name)?.place ?? cursor.place
    if (cursor.stream === 'hold') {
      expect(placeText(now)).toBe(placeText(cursor.place))
      return
    }
    const missed = unreadOfRemoved(model, firstBefore, cursor.place)
    const noted = gaps.list({ cursor: cursor.name })
    for (const position of missed) {
      const isNoted = noted.some(({ first, end }) => first <= position && position < end)
      expect(isNoted, `${cursor.name} lost ${position} without a gap`).toBe(true)
    }
    expect(unreadOfRemoved(model, firstBefore, now)).toEqual([])
    if (placeText(now) === placeText(cursor.place)) return
    cursor.place = now
    cursor.possible = [now]
  }

  /** The disk guard finds no more to delete: the stream says 'full' until space returns. */
  private async refusesWhileFull(): Promise<void> {
    for (const name of this.opened.full.keys()) {
      expect(name).toBe('hold')
      expect(this.freeBytes).toBe(0)
      expect(await this.start(name).appended.settled).toBe('full')
    }
    if (this.opened.full.size === 0) return
    this.freeBytes = BIG
    await this.retention?.run()
    expect([...this.opened.full.keys()]).toEqual([])
  }

  /** L6: what is turned away takes no position. */
  private async turnAway(): Promise<void> {
    const { name } = this.anyModel().settings
    const before = this.random.oneIn(2) ? [this.start(name)] : []
    this.opened.setFull(name, 'so the test says')
    const refused = this.start(name)
    this.opened.setFull(name, undefined)
    const after = [this.start(name)]
    expect(await refused.appended.settled).toBe('full')
    await this.settle([...before, ...after])
  }

  private async reopen(): Promise<void> {
    const open = this.random.oneIn(2) ? this.burst() : []
    await this.close()
    await this.settle(open)
    await this.open()
    for (const cursor of this.cursors.values()) {
      cursor.possible = [cursor.place]
      this.expectPlace(cursor)
    }
    await this.compareBounds()
  }

  /**
   * What a power cut leaves is copied, and the log goes on there. Nothing is in flight meanwhile:
   * a copy of files that change is no moment of them. (Gateways under load die in test/crash/.)
   */
  private async crash(): Promise<void> {
    if (!(await this.isQuiet())) return await this.counted('reopen instead', () => this.reopen())
    const copy = path.join(this.folder, `life-${++this.lives}`)
    // In a process of its own: closing a database file in this one would drop SQLite's locks on it.
    execFileSync('cp', ['-r', this.dataDir, copy])
    await this.close()
    fs.rmSync(this.dataDir, { recursive: true })
    this.dataDir = copy
    // Streams without a sync at each commit may give offsets out a second time.
    this.epoch++
    await this.open()
    for (const cursor of this.cursors.values()) this.expectPlace(cursor)
    await this.compareBounds()
  }

  /** S1 */
  private expectPlace(cursor: CursorModel): void {
    const place = this.opened.state.cursors.get(cursor.name)?.place
    expect(cursor.possible.map(placeText)).toContain(placeText(place))
    cursor.place = place ?? cursor.place
    cursor.possible = [cursor.place]
  }

  /**
   * Whether no thread works on the files any more, so that copying them one by one gives what they
   * were at one moment: nothing waits for the disk, the keeper has answered, so that it has done
   * what it was told before, and no seal goes on: no WAL is left but that of the last segment.
   */
  private async isQuiet(): Promise<boolean> {
    const until = performance.now() + QUIET_MS_MAX
    const folders = STREAMS.map(({ name }) => path.join(this.dataDir, 'streams', name))
    while (performance.now() < until) {
      const surveyed = await this.opened.segments.survey()
      // Without a finished segment the keeper is not asked.
      const hasAnswered = surveyed.some(({ segments }) => segments.length > 0)
      const isIdle = hasAnswered && this.opened.backlogBytes === 0
      if (isIdle && folders.every(isQuietFolder)) return true
      await wait(5)
    }
    return false
  }
}

function isQuietFolder(folder: string): boolean {
  const last = segmentNames(folder).at(-1)
  return fs
    .readdirSync(folder)
    .every(
      (name) => !/^(prepare|roll)/.test(name) && (!name.endsWith('-wal') || name === `${last}-wal`),
    )
}

function keptOf(record: LogRecord): Kept {
  const { position, partition, offset, topic, client, qos, retain, timeMs, boot } = record
  const { monotonicUs } = record
  return {
    position,
    partition,
    offset,
    topic,
    client,
    qos,
    retain,
    timeMs,
    boot,
    monotonicUs,
    properties: Buffer.from(record.properties).toString('base64'),
    payload: Buffer.from(record.payload).toString('base64'),
  }
}

/** What was removed just now, from where the stream began before, and lies at or after a place. */
function unreadOfRemoved(model: StreamModel, firstBefore: number, place: CursorPlace): number[] {
  return model.kept
    .slice(firstBefore, model.first)
    .filter(({ position, partition, offset }) =>
      place.kind === 'stream'
        ? position >= place.next
        : offset >= (place.next.get(asPartition(partition)) ?? 0),
    )
    .map(({ position }) => position)
}

function soughtPlace(model: StreamModel, was: CursorPlace, start: Start): CursorPlace {
  if (was.kind === 'stream') return { kind: 'stream', next: asPosition(model.locate(start)) }
  if (start.kind === 'offset') {
    return { kind: 'partitions', next: new Map([...was.next, [start.partition, start.offset]]) }
  }
  const position = model.locate(start)
  const next = model
    .partitionBounds()
    .map(({ partition }) => [partition, model.offsetFrom(partition, position)] as const)
    .map(([partition, offset]) => [asPartition(partition), asOffset(offset)] as const)
  return { kind: 'partitions', next: new Map(next) }
}
