import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { auditFleet } from '../../../firmware-sim/audit/audit-fleet.ts'
import { lineOf, parseLine } from '../../../firmware-sim/audit/lines.ts'
import type { Gap, LogSource } from '../../../firmware-sim/audit/log-source.ts'
import { isGood, reportLines } from '../../../firmware-sim/audit/report.ts'
import { Ledger } from '../../../firmware-sim/ledger.ts'

const topic = 'devices/a/telemetry'

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'sluice-audit-'))
  onTestFinished(() => rmSync(made, { recursive: true, force: true }))
  return made
}

/** A ledger of device `a`, boot 1: twelve sent, ten acknowledged, one of the others given up. */
async function ledgerFile(dir = folder()): Promise<string> {
  const ledger = new Ledger()
  const account = ledger.account('a', 1)
  for (let seq = 0; seq < 12; seq += 1) account.sent.add(seq)
  for (let seq = 0; seq < 10; seq += 1) account.acknowledged.add(seq)
  account.dropped.add(11)
  const file = join(dir, 'ledger.jsonl')
  await ledger.write(file, { seed: 1 })
  return file
}

function record(seq: number, device = 'a'): object {
  return { topic, payload: { device, boot: 1, seq } }
}

function logOf(records: readonly object[], gaps: readonly Gap[] = [], removed = 0): LogSource {
  return {
    streams: async () => [{ name: 'telemetry', removed }],
    gaps: async () => gaps,
    records: async function* () {
      yield* records.map(lineOf)
    },
  }
}

const upTo = (end: number): object[] => Array.from({ length: end }, (_, seq) => record(seq))

test('nothing is lost when the log has all that was acknowledged, and more', async () => {
  const log = logOf([...upTo(11), record(3), record(0, 'stranger'), { topic, payload: 'hello' }])
  const result = await auditFleet({ ledger: await ledgerFile(), log, farEnds: [] })
  expect(result).toMatchObject({ sent: 12, acknowledged: 10, dropped: 1, foreign: 2 })
  expect(result.stages).toMatchObject([{ readings: 11, lost: 0, duplicated: 1, outOfOrder: 0 }])
  expect(isGood(result)).toBe(true)
  expect(reportLines(result)).toEqual([
    '              readings  lost  duplicated  out of order  explained by gaps',
    'sent                12',
    'acknowledged        10',
    'dropped              1',
    'logged              11     0           1             0                  0',
    '2 messages are of nobody in the ledger',
    'lost: 0',
  ])
})

test('what was acknowledged and is not in the log is lost, and named', async () => {
  const log = logOf(upTo(10).filter((_, seq) => seq !== 4 && seq !== 5))
  const result = await auditFleet({ ledger: await ledgerFile(), log, farEnds: [] })
  expect(result.stages).toMatchObject([{ lost: 2, examples: ['a boot 1 [4, 6)'] }])
  expect(isGood(result)).toBe(false)
  expect(reportLines(result).slice(-2)).toEqual(['not logged: a boot 1 [4, 6)', 'LOST: 2'])
})

test('a reading that comes late is out of order, one that comes again is not', async () => {
  const log = logOf([0, 1, 3, 2, 3, 0, 4, 5, 6, 7, 8, 9].map((seq) => record(seq)))
  const { stages } = await auditFleet({ ledger: await ledgerFile(), log, farEnds: [] })
  expect(stages).toMatchObject([{ lost: 0, duplicated: 2, outOfOrder: 1 }])
})

test('retention and gaps explain as many as they tell of, and no more', async () => {
  const ledger = await ledgerFile()
  const late = upTo(10).slice(6)
  const gap = { stream: 'telemetry', cursor: null, first: 7, records: 2 }
  const before = { ...gap, first: 0, records: 100 }
  const others = { ...gap, cursor: 'group/x/telemetry', records: 100 }
  const log = logOf(late, [gap, before, others], 3)
  const { stages } = await auditFleet({ ledger, log, farEnds: [] })
  expect(stages).toMatchObject([{ explained: 5, lost: 1 }])
})

test('a consumer and an upstream must have what is in the log', async () => {
  const dir = folder()
  const [consumer, member, upstream] = ['c', 'm', 'u'].map((name) => join(dir, name))
  const lines = (records: readonly object[]): string =>
    records.map((one) => `${JSON.stringify(one)}\n`).join('')
  writeFileSync(consumer ?? '', lines(upTo(11).slice(5)))
  writeFileSync(member ?? '', lines(upTo(11).slice(0, 5)))
  writeFileSync(upstream ?? '', `${lines(upTo(9))}no JSON\n`)
  const gap = { stream: 'telemetry', cursor: 'bridge/cloud/telemetry', first: 9, records: 1 }
  const farEnds = [
    { name: 'consumed', files: [consumer ?? '', member ?? ''], streams: [], cursors: [] },
    {
      name: 'upstream',
      files: [upstream ?? ''],
      streams: ['telemetry'],
      cursors: ['bridge/cloud/'],
    },
  ]
  const log = logOf(upTo(11), [gap])
  const result = await auditFleet({ ledger: await ledgerFile(dir), log, farEnds })
  expect(result.stages).toMatchObject([
    { name: 'logged', lost: 0 },
    { name: 'consumed', readings: 11, lost: 0, outOfOrder: 0 },
    { name: 'upstream', readings: 9, explained: 1, lost: 1 },
  ])
  expect(result.unreadable).toBe(1)
  expect(isGood(result)).toBe(false)
})

test('payloads are found in all the forms in which tools write them', () => {
  const text = '{"device":"a","boot":1,"seq":7}'
  const bytes = Buffer.from(text)
  for (const payload of [
    { payload: JSON.parse(text) },
    { payload: text },
    { payload_base64: bytes.toString('base64') },
    { payload_hex: bytes.toString('hex') },
    { payload: bytes.toString('base64'), encoding: 'base64' },
  ]) {
    expect(parseLine(JSON.stringify({ topic, ...payload }))).toEqual({
      kind: 'reading',
      sighting: { id: { device: 'a', boot: 1, seq: 7 }, topic },
    })
  }
  expect(parseLine('{"topic":"x","payload":"offline"}').kind).toBe('foreign')
  for (const line of ['', 'null', '[]', '{}', '{']) expect(parseLine(line).kind).toBe('unreadable')
})

test('what is no ledger is refused with its line', async () => {
  const file = join(folder(), 'ledger')
  writeFileSync(file, '{"ledger":1}\n{"device":"a","boot":"x"}\n')
  await expect(Ledger.read(file)).rejects.toThrow(`${file}:2 is no line of a ledger`)
  writeFileSync(file, '')
  await expect(Ledger.read(file)).rejects.toThrow('is empty')
  await expect(Ledger.read(`${file}.none`)).rejects.toThrow('ENOENT')
})
