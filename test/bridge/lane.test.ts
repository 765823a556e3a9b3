import { expect, test } from 'vitest'
import { type Flight, Lane, type LaneSource } from '../../src/bridge/lane.ts'
import type { LogRecord, RecordPage } from '../../src/log/log.ts'
import { asPosition } from '../../src/log/log.ts'
import { given, turns } from './given.ts'

/** A lane over `count` records of the log in memory, in pages of ten. */
async function laneOver(count: number, end = Number.POSITIVE_INFINITY) {
  const { log, appendMany } = await given()
  appendMany(count)
  let reads = 0
  const source: LaneSource = {
    read: async (from): Promise<RecordPage> => {
      reads++
      const query = { stream: 'telemetry', from: asPosition(from) }
      return await log.read({ ...query, recordsMax: 10, bytesMax: 1_000_000 })
    },
    keptEnd: () => count,
    wake: () => undefined,
    progressed: () => undefined,
    unreadable: () => undefined,
    refused: () => undefined,
  }
  const lane = new Lane(source, 0, end)
  const send = async (): Promise<Flight | undefined> => {
    let record: LogRecord | undefined = lane.peek()
    if (record === undefined) {
      await turns(5)
      record = lane.peek()
    }
    if (record === undefined) return undefined
    const flight = lane.open(record)
    flight.add(record)
    lane.take(record)
    return flight
  }
  return { lane, send, reads: () => reads }
}

test('moves over acks in the order of the records, whatever their own (B1)', async () => {
  const { lane, send } = await laneOver(5)
  const flights = [await send(), await send(), await send()]
  flights[2]?.settled(0)
  flights[1]?.settled(0)
  expect(lane.acked).toBe(0)
  expect(lane.inflight).toBe(3)
  flights[0]?.settled(0)
  expect(lane.acked).toBe(3)
  expect(lane.inflight).toBe(0)
})

test('hands out again what was in flight, from the first unsettled on (B2)', async () => {
  const { lane, send } = await laneOver(30)
  const flights = [await send(), await send(), await send()]
  flights[0]?.settled(0)
  flights[2]?.settled(0)
  lane.reset(lane.acked)
  expect((await send())?.first).toBe(1)
  expect((await send())?.first).toBe(2)
  flights[1]?.settled(0)
  expect(lane.acked).toBe(1)
})

test('reads at most two pages ahead (B3)', async () => {
  const { lane, send, reads } = await laneOver(100)
  const first = await send()
  await turns(20)
  expect(reads()).toBe(3)
  first?.settled(0)
  for (let i = 0; i < 9; i++) (await send())?.settled(0)
  await turns(20)
  expect(reads()).toBe(3)
  ;(await send())?.settled(0)
  await turns(20)
  expect(reads()).toBe(4)
  expect(lane.acked).toBe(11)
})

test('ends where it is told to', async () => {
  const { lane, send } = await laneOver(30, 12)
  let count = 0
  for (let flight = await send(); flight !== undefined; flight = await send()) {
    flight.settled(0)
    count++
  }
  expect(count).toBe(12)
  expect(lane.isDone).toBe(true)
})

test('leaves out what was not handed out yet, and keeps what was', async () => {
  const { lane, send } = await laneOver(30)
  const flight = await send()
  lane.skipTo(20)
  expect(lane.acked).toBe(0)
  flight?.settled(0)
  expect(lane.acked).toBe(20)
  expect((await send())?.first).toBe(20)
})
