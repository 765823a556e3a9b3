import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { memorySink } from '../../../src/log/state/sink.ts'
import { StateStore } from '../../../src/log/state/store.ts'
import type { Document, DocumentWrite } from '../../../src/log/state.ts'
import { numbers } from '../../contract/event-log-support.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { onBadDisk, open, reopenCopy, START_MS } from './given.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()
const write = (key: string, value: string | undefined, kind = 'k'): DocumentWrite => ({
  kind,
  key,
  value: value === undefined ? undefined : bytes(value),
})

async function all(documents: AsyncIterable<Document>): Promise<string[]> {
  const found: string[] = []
  for await (const { key, value } of documents) found.push(`${key}=${text(value)}`)
  return found
}

describe.each([
  ['in memory', () => new StateStore({ sink: memorySink(), clock: new ManualClock(START_MS) })],
  ['in a file', () => open(tempDir())],
])('documents %s', (_where, store) => {
  it('are read as they were put, before they are on disk and after', async () => {
    const state = store()
    const { documents } = state
    documents.put([write('b', '2'), write('a', '1'), write('a', 'other', 'l')])
    expect(await all(documents.load('k'))).toEqual(['a=1', 'b=2'])
    await state.flush()
    expect(await all(documents.load('k'))).toEqual(['a=1', 'b=2'])
    documents.put([write('a', undefined), write('b', '3'), write('c', '4')])
    expect(await all(documents.load('k'))).toEqual(['b=3', 'c=4'])
    const found = await documents.get('k', ['c', 'a', 'b', 'never'])
    expect(found.map(text)).toEqual(['4', undefined, '3', undefined])
    await state.flush()
    expect(await all(documents.load('k'))).toEqual(['b=3', 'c=4'])
    expect(await all(documents.load('l'))).toEqual(['a=other'])
    await state.close()
  })

  it('come in the order of their keys, wherever they are', async () => {
    const { documents } = store()
    const keys = ['a', 'ab', 'b', 'z', '\u00fc', '\uffee', '\u{1f600}']
    await documents.putNow(['z', '\u{1f600}', 'a', '\u00fc'].map((key) => write(key, '')))
    documents.put(['\uffee', 'b', 'ab'].map((key) => write(key, '')))
    expect(await all(documents.load('k'))).toEqual(keys.map((key) => `${key}=`))
  })

  it('are copied when they are put', async () => {
    const { documents } = store()
    const value = Buffer.from('one')
    documents.put([{ kind: 'k', key: 'a', value }])
    value.fill('x')
    expect(await all(documents.load('k'))).toEqual(['a=one'])
  })

  it('come in pages, each once', async () => {
    const state = store()
    const keys = Array.from({ length: 2500 }, (_, i) => String(i).padStart(4, '0'))
    await state.documents.putNow(keys.map((key) => write(key, key)))
    expect(await all(state.documents.load('k'))).toEqual(keys.map((key) => `${key}=${key}`))
    await state.close()
  })

  it('take a key that is empty and one from the wire', async () => {
    const state = store()
    await state.documents.putNow([write('', 'none'), write('__proto__', 'p')])
    expect(await all(state.documents.load('k'))).toEqual(['=none', '__proto__=p'])
    await state.close()
  })
})

describe('documents on disk', () => {
  it('are there after a crash once putNow resolved, with all that was put before', async () => {
    const dataDir = tempDir()
    const dead = open(dataDir)
    dead.documents.put([write('lazy', '1')])
    await dead.documents.putNow([write('now', '2')])
    dead.documents.put([write('lost', '3')])
    expect(await all(reopenCopy(dataDir).documents.load('k'))).toEqual(['lazy=1', 'now=2'])
  })

  it('are written at close', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    state.documents.put([write('a', '1')])
    await state.close()
    expect(await all(open(dataDir).documents.load('k'))).toEqual(['a=1'])
  })

  it('never overtake a write that failed', async () => {
    const { state, disk, dataDir } = onBadDisk()
    const { documents } = state
    disk.broken = true
    const first = documents.putNow([write('a', '1')])
    const second = documents.putNow([write('b', '1')])
    await expect(first).rejects.toThrow('disk I/O error')
    disk.broken = false
    documents.put([write('c', '1')])
    await documents.putNow([write('d', '1')])
    await Promise.allSettled([second])
    expect(await all(reopenCopy(dataDir).documents.load('k'))).toEqual(['a=1', 'b=1', 'c=1', 'd=1'])
  })

  it('find room in the reserve on a full disk', async () => {
    const { state, disk, isReserved, start } = onBadDisk()
    await state.close()
    Object.assign(disk, { full: true, freeBytes: 0 })
    const { documents } = start()
    expect(isReserved()).toBe(true)
    await documents.putNow(numbers(400).map((i) => write(`key ${i}`, 'x'.repeat(1000))))
    expect(isReserved()).toBe(false)
  })

  it('go to disk at once when a megabyte waits', async () => {
    const dataDir = tempDir()
    const { documents } = open(dataDir)
    documents.put([write('large', 'x'.repeat(1024 * 1024))])
    const found = () => all(reopenCopy(dataDir).documents.load('k'))
    await expect.poll(async () => (await found()).length).toBe(1)
  })

  it('wait on where the disk fails, the newest value on top', async () => {
    const { state, disk } = onBadDisk()
    disk.broken = true
    await expect(state.documents.putNow([write('a', '1'), write('b', '1')])).rejects.toThrow()
    state.documents.put([write('a', '2')])
    disk.broken = false
    await state.flush()
    expect(await all(state.documents.load('k'))).toEqual(['a=2', 'b=1'])
  })
})
