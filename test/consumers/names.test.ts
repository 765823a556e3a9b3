import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import {
  parseConsumerName,
  parseStartRequest,
  type StartRequest,
} from '../../src/consumers/consumers.ts'
import { NOON_MS } from './given.ts'

const replay = { kind: 'replay', stream: 's', filter: undefined, from: undefined }

describe('the name of a consumer', () => {
  it.each([
    ['$stream/s', replay],
    ['$stream/s/#', replay],
    ['$stream/s/a/+/c', { ...replay, filter: 'a/+/c' }],
    ['$stream@-6h/s/a', { ...replay, filter: 'a', from: '-6h' }],
    ['$stream@0:17/s', { ...replay, from: '0:17' }],
    ['$share/g/$stream/s', { ...replay, kind: 'group', group: 'g' }],
    [
      '$share/g/$stream@earliest/s/a/#',
      { ...replay, kind: 'group', group: 'g', filter: 'a/#', from: 'earliest' },
    ],
    ['$queue/jobs', { kind: 'queue', queue: 'jobs' }],
    ['$share/g/a/#', { kind: 'shared', group: 'g', filter: 'a/#' }],
    ['a/b', undefined],
    ['$SYS/#', undefined],
    ['$streams/s', undefined],
    ['$queues', undefined],
  ])('%s', (text, name) => {
    expect(parseConsumerName(text)).toEqual(name)
  })

  it.each([
    ['$stream', /names one stream/],
    ['$stream/', /names one stream/],
    ['$stream/+/a', /names one stream/],
    ['$stream@/s', /does not say from where/],
    ['$stream/s/a#', /"a#" has a # that is not the whole last level/],
    ['$queue/', /names one queue/],
    ['$queue/#', /names one queue/],
    ['$queue/jobs/a', /without a topic filter/],
    ['$share', /^\$share/],
    ['$share/g', /not followed by a topic filter/],
    ['$share//a', /must be a name/],
    ['$share/+/a', /must be a name/],
    ['$share/g/a#', /has a #/],
    ['$share/g/$queue/jobs', /subscribe to \$queue\/jobs/],
    ['$share/g/$share/h/a', /stands once/],
  ])('%s is none, and the sentence says why', (text, sentence) => {
    const name = parseConsumerName(text)
    expect(name?.kind).toBe('invalid')
    expect(name?.kind === 'invalid' && name.sentence).toMatch(sentence)
  })
})

describe('where a consumer begins', () => {
  const ask = (request: Partial<StartRequest>) =>
    parseStartRequest(
      { from: undefined, streamOffset: undefined, streamPartition: undefined, ...request },
      4,
      { kind: 'latest' },
      new ManualClock(NOON_MS),
    )

  it('is where it always begins, unless it says something else', () => {
    expect(ask({})).toEqual({ kind: 'start', start: { kind: 'latest' }, partition: undefined })
    expect(ask({ from: 'earliest' })).toMatchObject({ start: { kind: 'earliest' } })
    expect(ask({ from: 'earliest', streamOffset: '-1h' })).toMatchObject({
      start: { kind: 'time', timeMs: NOON_MS - 3_600_000 },
    })
    expect(ask({ streamOffset: '3:7', streamPartition: '3' })).toMatchObject({
      start: { kind: 'offset', partition: 3, offset: 7 },
      partition: 3,
    })
  })

  it.each([
    [{ streamOffset: 'soon' }, /"soon" does not say where to begin: write earliest/],
    [{ streamOffset: '4:0' }, /no partition 4, the stream has 0 to 3/],
    [{ streamPartition: '4' }, /no partition "4"/],
    [{ streamPartition: 'x' }, /no partition "x"/],
    [{ streamOffset: '1:0', streamPartition: '2' }, /of partition 1, but stream-partition says 2/],
  ])('%j is refused with a sentence', (request, sentence) => {
    const outcome = ask(request)
    expect(outcome.kind === 'invalid' && outcome.sentence).toMatch(sentence)
  })
})
