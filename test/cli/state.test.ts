import { rmSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { ageText } from '../../src/cli/cursors.ts'
import { asPosition } from '../../src/log/log.ts'
import { openLog } from '../../src/log/open.ts'
import { gap } from '../contract/log-state.ts'
import { appendText } from '../support/append.ts'
import { NOW_MS, runCli } from '../support/cli-context.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'

const HOUR_MS = 3_600_000

/** Stream "s": ten records an hour apart in partition 0, the last an hour ago. */
async function givenTen() {
  const streams = [streamOf('other', 'none'), streamOf('s', '#', { partitions: 1 })]
  const given = await givenLog(streams, NOW_MS - 10 * HOUR_MS)
  for (let n = 0; n < 10; n++) {
    await appendText(given.log, 'devices/a', [`${n}`])
    given.clock.advance(HOUR_MS)
  }
  const { cursors, gaps } = given.log.state
  await cursors.open('bridge', 's', 'stream', { kind: 'earliest' })
  await cursors.open('a group', 's', 'partitions', { kind: 'latest' })
  const run = (command: string, ...args: string[]) =>
    runCli([command, ...args, '--data', given.dataDir])
  return { ...given, cursors, gaps, run }
}

describe('sluice cursors', () => {
  it('prints a line for each cursor, by name, beside a running gateway', async () => {
    const { cursors, run } = await givenTen()
    await cursors.commitNow('bridge', { kind: 'stream', next: asPosition(7) })
    const { code, out, err } = await run('cursors')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out.split('\n')).toEqual([
      'CURSOR   STREAM  PLACE  LAG  AGE',
      'a group  s       0:10   0    0s',
      'bridge   s       7      3    3h',
      '',
    ])
  })

  it('prints exact numbers as JSON, also of a stopped gateway', async () => {
    const { log, cursors, run } = await givenTen()
    cursors.commit('bridge', { kind: 'stream', next: asPosition(9) })
    await log.close()
    const { out } = await run('cursors', '--format', 'json')
    const [group, bridge] = out.trimEnd().split('\n').map(parsed)
    expect(group).toMatchObject({ cursor: 'a group', offsets: { 0: 10 }, lag_records: 0 })
    expect(bridge).toEqual({
      cursor: 'bridge',
      stream: 's',
      position: 9,
      lag_records: 1,
      lag_bytes_estimate: expect.any(Number),
      lag_age_ms: HOUR_MS,
      updated: new Date(NOW_MS).toISOString(),
    })
  })

  it('shows no control characters of a name', async () => {
    const { cursors, run } = await givenTen()
    await cursors.open('\u001b[2Jx', 's', 'stream', { kind: 'latest' })
    for (const format of ['text', 'json']) {
      const { out } = await run('cursors', '--format', format)
      expect(out).toContain('\\u001b[2Jx')
      expect(out).not.toContain('\u001b')
    }
  })

  it('knows no lag on a stream that is not there', async () => {
    const { log, dataDir, run } = await givenTen()
    await log.close()
    rmSync(`${dataDir}/streams/s`, { recursive: true })
    expect((await run('cursors')).out).toContain('bridge   s       0      -    -\n')
  })

  it('has nothing to show of a data directory without cursors', async () => {
    const { dataDir } = await givenLog([streamOf('s', '#')], NOW_MS)
    const { code, out } = await runCli(['cursors', '--data', dataDir])
    expect({ code, out }).toEqual({ code: 0, out: 'CURSOR  STREAM  PLACE  LAG  AGE\n' })
  })

  it.each([
    [999, '0s'],
    [59_000, '59s'],
    [60_000, '1m'],
    [5_400_000, '1h 30m'],
    [90_000_000, '1d 1h'],
  ])('writes %i ms as %s', (ageMs, text) => {
    expect(ageText(ageMs)).toBe(text)
  })
})

describe('sluice gaps', () => {
  it('prints the gaps, oldest first, and what was lost in all', async () => {
    const { gaps, run } = await givenTen()
    await gaps.add([gap(0, 4, { cursor: 'bridge' })])
    await gaps.add([gap(5, 6, { cursor: undefined, reason: 'quarantined', sizeBytes: 2048 })])
    const { code, out, err } = await run('gaps')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const time = new Date(NOW_MS).toISOString()
    expect(out.split('\n')).toEqual([
      'TIME                      STREAM  CURSOR  RANGE   RECORDS  SIZE     REASON',
      `${time}  s       bridge  [0, 4)  4        40 B     retention`,
      `${time}  s       -       [5, 6)  1        2.0 KiB  quarantined`,
      '',
      'IN ALL       RECORDS  SIZE',
      'retention    4        40 B',
      'quarantined  1        2.0 KiB',
      '',
    ])
  })

  it('prints those of one stream or cursor, also as JSON', async () => {
    const { gaps, run } = await givenTen()
    await gaps.add([gap(0, 4), gap(5, 6, { cursor: 'd' }), gap(1, 2, { stream: 'other' })])
    expect((await run('gaps', '--stream', 'other')).out.split('\n')).toHaveLength(3)
    const { out } = await run('gaps', '--cursor', 'd', '--format', 'json')
    expect(parsed(out)).toEqual({
      id: 2,
      stream: 's',
      cursor: 'd',
      first: 5,
      end: 6,
      records: 1,
      size_bytes: 10,
      reason: 'retention',
      time: new Date(NOW_MS).toISOString(),
    })
  })

  it('says that a data directory is not there, or that its state is damaged', async () => {
    const { log, dataDir, run } = await givenTen()
    await log.close()
    writeFileSync(`${dataDir}/state.db`, 'x'.repeat(5000))
    for (const command of ['gaps', 'cursors']) {
      expect((await runCli([command, '--data', '/nowhere/at/all'])).err).toContain(
        '/nowhere/at/all',
      )
      const { code, err } = await run(command)
      expect(code).toBe(1)
      expect(err).toContain('state.db is damaged')
    }
  })
})

describe('sluice seek', () => {
  async function givenStopped() {
    const given = await givenTen()
    await given.log.close()
    const seek = (...args: string[]) => given.run('seek', ...args)
    const place = async (name: string) => {
      const lines = (await given.run('cursors')).out.split('\n')
      return lines
        .find((line) => line.startsWith(name))
        ?.slice(17)
        .trim()
    }
    return { ...given, seek, place }
  }

  it('moves a cursor of a stopped gateway, durably', async () => {
    const { seek, place } = await givenStopped()
    const { code, out, err } = await seek('bridge', '--to', 'latest')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toBe('bridge reads s from 10 on; records ahead: 0\n')
    expect(await place('bridge')).toBe('10     0    0s')
    await seek('bridge', '--to', '-6h')
    expect(await place('bridge')).toBe('4      6    6h')
    await seek('bridge', '--to', '0:8')
    expect(await place('bridge')).toBe('8      2    2h')
    await seek('a group', '--to', new Date(NOW_MS - 3 * HOUR_MS).toISOString())
    expect(await place('a group')).toBe('0:7    3    3h')
    expect((await seek('a group', '--to', 'earliest')).out).toContain(
      'from 0:0 on; records ahead: 10',
    )
  })

  it('leaves the next start with the cursor where it was put, and its boot number', async () => {
    const { dataDir, seek } = await givenStopped()
    await seek('bridge', '--to', '0:3')
    const log = await openLog({ dataDir, streams: [streamOf('s', '#')], clock: systemClock })
    expect(log.boot).toBe(2)
    expect(log.state.cursors.get('bridge')?.place).toEqual({ kind: 'stream', next: 3 })
    await log.close()
  })

  it('says that a running gateway owns its cursors', async () => {
    const { dataDir, run, cursors } = await givenTen()
    const { code, out, err } = await run('seek', 'bridge', '--to', 'latest')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    const owner = `the gateway that runs on ${dataDir} owns its cursors`
    expect(err).toBe(`sluice: ${owner}: stop it, seek, and start it again\n`)
    expect(cursors.get('bridge')?.place).toEqual({ kind: 'stream', next: 0 })
  })

  it.each([
    ['a cursor that is not there', ['nobody', '--to', 'latest'], 'there is no cursor "nobody"'],
    ['a start that is none', ['bridge', '--to', 'soon'], '"soon" does not say where to begin'],
    ['an offset that is not there', ['bridge', '--to', '0:99'], 'not 99'],
    ['a partition that is not there', ['bridge', '--to', '7:0'], 'has no partition 7'],
    ['no start', ['bridge'], '--to'],
  ])('refuses %s', async (_, args, sentence) => {
    const { seek, place } = await givenStopped()
    const { code, err } = await seek(...args)
    expect(code).toBe(1)
    expect(err).toContain(sentence)
    expect(await place('bridge')).toBe('0      10   10h')
  })

  it('makes no data directory', async () => {
    const { dataDir } = await givenStopped()
    const { code, err } = await runCli(['seek', 'c', '--to', 'latest', '--data', `${dataDir}/x`])
    expect(code).toBe(1)
    expect(err).toContain('does not exist')
  })
})

/** A line of JSON. */
function parsed(line: string) {
  return JSON.parse(line)
}
