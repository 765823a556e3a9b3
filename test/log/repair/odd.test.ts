/** G5: a start meets what no crash leaves, and serves what can be served. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { asPosition } from '../../../src/log/log.ts'
import { segmentNames } from '../../../src/log/writer/recovery.ts'
import { collectingLogger } from '../../support/logger.ts'
import { append, emptyFolder, keep, open, readAll, stream } from '../given.ts'
import { folderOf, gapsOf, given, STREAMS, spoil, TINY } from './given.ts'

const TWO = [stream('a', { partitions: 2 }), stream('b')]

function damageSecond(dataDir: string): number {
  const [, second = ''] = segmentNames(folderOf(dataDir))
  const gone = Number.parseInt(second, 10) + 3
  spoil(path.join(folderOf(dataDir), second), `a/x ${gone} `)
  return gone
}

it('repairs although the quarantine is a plain file, which it keeps', async () => {
  const { dataDir, lines } = await given()
  fs.writeFileSync(path.join(dataDir, 'quarantine'), 'not a folder')
  const gone = damageSecond(dataDir)
  const log = await open(dataDir, STREAMS, TINY)
  expect(await readAll(log, 'a')).toEqual(
    lines.filter((line) => Number.parseInt(line, 10) !== gone),
  )
  expect(gapsOf(log)).toEqual([[gone, gone + 1, 1, 'quarantined']])
  expect(fs.readFileSync(path.join(dataDir, 'quarantine.1'), 'utf8')).toBe('not a folder')
})

it('starts with odd notes in the quarantine, and goes by none of them', async () => {
  const { dataDir, lines } = await given()
  const folder = path.join(dataDir, 'quarantine/a')
  fs.mkdirSync(path.join(folder, 'folder.json'), { recursive: true })
  fs.symlinkSync('nowhere', path.join(folder, 'link.json'))
  const note = { stream: 'a', file: '0000000000000000.db', quarantined: 'x', why: 'y' }
  const rest = { salvagedRecords: 1, lostBytes: 0, endInDoubt: false, state: 'swapped' }
  const odd = [
    { ...note, ...rest, holes: [{ first: 5, end: 1 }] },
    { ...note, ...rest, holes: 'none' },
    { ...note, ...rest, holes: [{ first: 0, end: 3 }], file: '../../../passwd' },
    { ...note, ...rest, holes: [{ first: 0, end: 3 }], stream: '..' },
    { ...note, ...rest, holes: [{ first: 0, end: 3 }], state: 'odd' },
    null,
  ]
  for (const [i, one] of odd.entries()) {
    fs.writeFileSync(path.join(folder, `${i}.json`), JSON.stringify(one))
  }
  fs.writeFileSync(path.join(folder, 'cut.json'), '{"stream": "a"')
  fs.writeFileSync(path.join(dataDir, 'quarantine', 'stray'), '')
  const log = await open(dataDir, STREAMS, TINY)
  expect(await readAll(log, 'a')).toEqual(lines)
  expect(gapsOf(log)).toEqual([])
})

describe('moves out of the way what stands for a file and is none:', () => {
  const names = [
    'gateway.lock',
    'state.db',
    'state.db-wal',
    'epoch',
    'epoch.new',
    'running',
    'running.new',
    'reserve',
    'streams/a/next.db',
    'streams/a/prepare.db',
    'streams/a/roll.db-journal',
    'streams/a/salvage.db',
  ]

  it.each(['folders', 'links'])('%s', async (kind) => {
    const { dataDir, lines } = await given(40)
    for (const name of names) {
      const entry = path.join(dataDir, name)
      fs.rmSync(entry, { force: true })
      if (kind === 'links') fs.symlinkSync(path.join(dataDir, 'nowhere', 'at all'), entry)
      else fs.mkdirSync(path.join(entry, 'with', 'something'), { recursive: true })
    }
    const logger = collectingLogger()
    const log = await open(dataDir, STREAMS, { ...TINY, logger })
    expect(await readAll(log, 'a')).toEqual(lines)
    expect(await append(log, 'a/x').settled).toBe('kept')
    expect(logger.lines.join('\n')).toContain('quarantine/state/epoch.1')
    await log.close()
    const again = await open(dataDir, STREAMS, TINY)
    expect(await readAll(again, 'a')).toHaveLength(lines.length + 1)
  })

  it.each(['first', 'middle', 'last'])('the %s segment, a folder', async (which) => {
    const { dataDir, lines } = await given()
    const names = segmentNames(folderOf(dataDir))
    const at = which === 'first' ? 0 : which === 'middle' ? 1 : names.length - 1
    const name = names[at] ?? ''
    const [from, end] = [name, names[at + 1]].map((each) => Number.parseInt(each ?? '400', 10))
    fs.rmSync(path.join(folderOf(dataDir), name))
    fs.mkdirSync(path.join(folderOf(dataDir), name, 'x'), { recursive: true })
    const log = await open(dataDir, STREAMS, TINY)
    const expected = lines.filter((line) => {
      const position = Number.parseInt(line, 10)
      return position < Number(from) || position >= Number(end)
    })
    const { record, settled } = append(log, 'a/x', 'new')
    expect(await settled).toBe('kept')
    expect(record.position).toBeGreaterThanOrEqual(400)
    const found = await readAll(log, 'a')
    expect(found.slice(0, -1)).toEqual(expected)
    expect(fs.existsSync(path.join(dataDir, 'quarantine/a', `${name}.1`, 'x'))).toBe(true)
  })
})

it('mends a lock file that is garbage, and still keeps a second gateway out', async () => {
  const { dataDir, lines } = await given(20)
  fs.writeFileSync(path.join(dataDir, 'gateway.lock'), Buffer.alloc(5000, 7))
  const log = await open(dataDir, STREAMS, TINY)
  expect(await readAll(log, 'a')).toEqual(lines)
  await expect(open(dataDir, STREAMS, TINY)).rejects.toThrow('another gateway is running')
  fs.writeFileSync(path.join(dataDir, 'epoch'), Buffer.alloc(100, 255))
  await log.close()
})

describe('a stream that cannot be opened', () => {
  /** The folder of "a" is a plain file, so not even root can work in it. */
  async function broken(): Promise<string> {
    const dataDir = await emptyFolder()
    const log = await open(dataDir, TWO, TINY)
    await keep(log, 'a/x', 5)
    await keep(log, 'b/x', 5)
    await log.state.cursors.open('on a', 'a', 'stream', { kind: 'latest' })
    await log.close()
    fs.renameSync(folderOf(dataDir), path.join(dataDir, 'kept'))
    fs.writeFileSync(folderOf(dataDir), 'in the way')
    return dataDir
  }

  it('does not keep the others from work, and says so', async () => {
    const dataDir = await broken()
    const logger = collectingLogger()
    const log = await open(dataDir, TWO, { ...TINY, logger })
    expect(await append(log, 'b/x').settled).toBe('kept')
    expect(await readAll(log, 'b')).toHaveLength(6)
    expect(log.failures.get('a')).toContain('the stream "a" cannot be opened')
    expect(logger.lines.filter((line) => line.includes('a is out of service'))).toHaveLength(1)
    log.setFull('a', undefined)
    expect(await append(log, 'a/x').settled).toBe('full')
    const outOfService = { code: 'stream-out-of-service' }
    await expect(log.bounds('a')).rejects.toMatchObject(outOfService)
    await expect(log.locate('a', { kind: 'latest' })).rejects.toMatchObject(outOfService)
    const query = { stream: 'a', from: asPosition(0), recordsMax: 1, bytesMax: 1 }
    await expect(log.read(query)).rejects.toMatchObject(outOfService)
    expect((await log.segments.survey()).map(({ end }) => Number(end))).toEqual([0, 6, 0])
  })

  it('is there again, with its cursors, when a later start can open it', async () => {
    const dataDir = await broken()
    await (await open(dataDir, TWO, TINY)).close()
    fs.rmSync(folderOf(dataDir))
    fs.renameSync(path.join(dataDir, 'kept'), folderOf(dataDir))
    const log = await open(dataDir, TWO, TINY)
    expect(log.failures.size).toBe(0)
    expect(await readAll(log, 'a')).toHaveLength(5)
    expect(log.state.cursors.get('on a')?.place).toEqual({ kind: 'stream', next: 5 })
    expect(append(log, 'a/x').record.position).toBe(5)
  })

  it('refuses the start where there is no other one', async () => {
    const dataDir = await broken()
    const only = open(dataDir, [stream('a')], TINY)
    await expect(only).rejects.toMatchObject({ code: expect.stringMatching(/^storage|data-dir/) })
  })
})
