import { describe, expect, it } from 'vitest'
import { asPosition } from '../../../src/log/log.ts'
import { appendText } from '../../support/append.ts'
import { givenApi, isHelpful } from './given.ts'

describe('cursors over HTTP', () => {
  it('are listed by name with what they have not read', async () => {
    const { log, get } = await givenApi()
    await appendText(log, 'plant/a', ['1', '2', '3'])
    const from = { kind: 'earliest' } as const
    await log.state.cursors.open('session/b/plant', 'plant', 'stream', from)
    await log.state.cursors.open('group/a/plant', 'plant', 'partitions', from)
    log.state.cursors.commit('session/b/plant', { kind: 'stream', next: asPosition(1) })
    const all = (await (await get('/v1/cursors')).json()) as { cursors: object[] }
    expect(all.cursors).toMatchObject([
      { cursor: 'group/a/plant', stream: 'plant', offsets: {}, lag_records: 3 },
      { cursor: 'session/b/plant', stream: 'plant', position: 1, lag_records: 2 },
    ])
    const rest = await (await get('/v1/cursors?after=group/a/plant&limit=1')).json()
    expect(rest).toMatchObject({ cursors: [{ cursor: 'session/b/plant' }] })
  })

  it('are moved, also with slashes in their names', async () => {
    const { log, post } = await givenApi()
    await appendText(log, 'plant/a', ['1', '2', '3'])
    const name = `session/${'x'.repeat(300)}/plant`
    await log.state.cursors.open(name, 'plant', 'stream', { kind: 'latest' })
    const path = `/v1/cursors/${encodeURIComponent(name)}/seek`
    const response = await post(path, { to: 'earliest' })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ cursor: name, position: 0, lag_records: 3 })
    expect(log.state.cursors.get(name)?.place).toEqual({ kind: 'stream', next: 0 })
  })

  it.each([
    ['/v1/cursors/nobody/seek', { to: 'earliest' }, 404],
    ['/v1/cursors/one/seek', { to: 'tomorrow' }, 400],
    ['/v1/cursors/one/seek', {}, 400],
    ['/v1/cursors/one/seek', { to: 5 }, 400],
    ['/v1/cursors/one/seek', ['earliest'], 400],
  ])('are not moved by %s %j', async (path, body, status) => {
    const { log, post } = await givenApi()
    await log.state.cursors.open('one', 'plant', 'stream', { kind: 'latest' })
    const response = await post(path, body)
    expect(response.status).toBe(status)
    expect(await response.json()).toSatisfy(isHelpful)
  })
})

describe('gaps over HTTP', () => {
  it('are listed by stream and cursor, and paged by id', async () => {
    const { log, get } = await givenApi()
    const [first, end] = [asPosition(0), asPosition(2)]
    const gap = { stream: 'plant', first, end, records: 2, sizeBytes: 20 }
    const added = await log.state.gaps.add([
      { ...gap, cursor: undefined, reason: 'quarantined' },
      { ...gap, cursor: 'one', reason: 'retention' },
    ])
    const all = (await (await get('/v1/gaps?stream=plant')).json()) as { gaps: object[] }
    expect(all.gaps).toMatchObject([
      { cursor: null, first: 0, end: 2, records: 2, size_bytes: 20, reason: 'quarantined' },
      { cursor: 'one', reason: 'retention' },
    ])
    const rest = await (await get(`/v1/gaps?after=${added[0]?.id}`)).json()
    expect(rest).toMatchObject({ gaps: [{ cursor: 'one' }] })
    expect(await (await get('/v1/gaps?stream=none')).json()).toEqual({ gaps: [] })
  })
})

describe('streams over HTTP', () => {
  it('are listed with what is in them, and why one takes nothing', async () => {
    const { log, get } = await givenApi()
    await appendText(log, 'plant/a', ['1', '2', '3'])
    log.setFull('plant', 'no space')
    const answer = await (await get('/v1/streams')).json()
    expect(answer).toMatchObject({
      streams: [
        { name: 'plant', first: 0, end: 3, state: 'full', reason: 'no space' },
        { name: 'default', first: 0, end: 0, state: 'ok', reason: null, first_time: null },
      ],
    })
    log.setFull('plant', undefined)
  })
})
