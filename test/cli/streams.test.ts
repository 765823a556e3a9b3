import { describe, expect, it } from 'vitest'
import { sizeText } from '../../src/cli/streams.ts'
import { appendText } from '../support/append.ts'
import { runCli } from '../support/cli-context.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'

const START_MS = Date.UTC(2026, 0, 31, 8)

async function givenTwo() {
  // The built-in stream is the empty one.
  const streams = [streamOf('telemetry', '#')]
  const given = await givenLog(streams, START_MS)
  await appendText(given.log, 'devices/a', ['1', '2'])
  given.clock.advance(1000)
  await appendText(given.log, 'devices/b', ['3'])
  return given
}

describe('sluice streams', () => {
  it('prints a line for each stream, with its bounds', async () => {
    const { dataDir } = await givenTwo()
    const { code, out, err } = await runCli(['streams', '--data', dataDir])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const lines = out.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^STREAM +RECORDS +SEGMENTS +SIZE +FIRST +LAST +PARTITIONS$/)
    expect(lines[1]).toMatch(/^default +0 /)
    const times = '2026-01-31T08:00:00.000Z {2}2026-01-31T08:00:01.000Z'
    expect(lines[2]).toMatch(
      new RegExp(`^telemetry +3 +1 +[\\d.]+ KiB +${times} +0\\[0, \\d\\) 1\\[`),
    )
  })

  it('prints exact numbers as JSON', async () => {
    const { dataDir, log } = await givenTwo()
    const { out } = await runCli(['streams', '--data', dataDir, '--format', 'json'])
    const [empty, telemetry] = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(empty).toMatchObject({
      stream: 'default',
      records: 0,
      first_time: null,
      last_time: null,
    })
    expect(telemetry).toMatchObject({
      stream: 'telemetry',
      first: 0,
      end: 3,
      records: 3,
      segments: 1,
      size_bytes: expect.any(Number),
      first_time: '2026-01-31T08:00:00.000Z',
      last_time: '2026-01-31T08:00:01.000Z',
    })
    expect(telemetry.partitions).toEqual((await log.bounds('telemetry')).partitions)
  })

  it('says that a data directory is not there', async () => {
    const { code, err } = await runCli(['streams', '--data', '/nowhere/at/all'])
    expect(code).toBe(1)
    expect(err).toContain('/nowhere/at/all')
  })

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [150 * 1024, '150 KiB'],
    [3.25 * 1024 ** 3, '3.3 GiB'],
  ])('writes %i bytes as %s', (bytes, text) => {
    expect(sizeText(bytes)).toBe(text)
  })
})
