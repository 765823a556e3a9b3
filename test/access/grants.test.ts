import { describe, expect, it } from 'vitest'
import { Grants } from '../../src/access/grants.ts'
import { contains, overlaps } from '../../src/access/patterns.ts'
import { type AccessRule, RuleBook } from '../../src/access/rules.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { topicMatches } from '../../src/log/topics.ts'

const both = ['publish', 'subscribe'] as const

function bookOf(...rules: AccessRule[]): RuleBook {
  const book = new RuleBook()
  book.replace(rules)
  return book
}

const rule = (topics: string[], allow: AccessRule['allow'] = both, user = '*'): AccessRule => ({
  user,
  allow,
  topics,
})

/** What the contract shows. */
const contract = bookOf(
  rule(['devices/{client}/#']),
  rule(['devices/#', '$stream/#', '$queue/#'], ['subscribe'], 'analytics'),
)

describe('rules', () => {
  it('X1: what no rule grants is denied', () => {
    const grants = new Grants(bookOf(), 'a', 'b')
    expect(grants.mayPublish('x')).toBe(false)
    expect(grants.mayReceive('x')).toBe(false)
    expect(grants.maySubscribe('#')).toBe(false)
  })

  it('without rules everything is open', () => {
    const grants = new Grants(new RuleBook(), 'a', undefined)
    expect([grants.mayPublish('x'), grants.mayReceive('x'), grants.maySubscribe('#')]).toEqual([
      true,
      true,
      true,
    ])
  })

  it('of the contract: a device has its own, analytics reads all', () => {
    const device = new Grants(contract, 'd1', undefined)
    expect(device.mayPublish('devices/d1/telemetry/temp')).toBe(true)
    expect(device.mayPublish('devices/d1')).toBe(true)
    expect(device.mayPublish('devices/d2/telemetry/temp')).toBe(false)
    expect(device.maySubscribe('$stream/telemetry')).toBe(false)
    const analytics = new Grants(contract, 'report', 'analytics')
    expect(analytics.mayReceive('devices/d2/alarm')).toBe(true)
    expect(analytics.mayPublish('devices/d2/alarm')).toBe(false)
    expect(analytics.mayPublish('devices/report/x')).toBe(true)
    expect(analytics.maySubscribe('$stream/telemetry')).toBe(true)
    expect(analytics.maySubscribe('$stream@-6h/telemetry/devices/#')).toBe(true)
    expect(analytics.maySubscribe('$queue/jobs')).toBe(true)
    expect(analytics.maySubscribe('$share/g/devices/+/x')).toBe(true)
    expect(analytics.maySubscribe('$share/g/$stream/telemetry')).toBe(true)
    expect(analytics.maySubscribe('other/#')).toBe(false)
  })

  it('the first that matches wins, and one that allows nothing denies', () => {
    const book = bookOf(rule(['plant/secret/#'], []), rule(['plant/#'], ['subscribe']))
    const grants = new Grants(book, 'a', 'u')
    expect(grants.mayReceive('plant/secret/x')).toBe(false)
    expect(grants.mayReceive('plant/open')).toBe(true)
    expect(grants.maySubscribe('plant/#')).toBe(true)
    expect(grants.maySubscribe('plant/secret/#')).toBe(false)
    expect(grants.maySubscribe('plant/secret/+/x')).toBe(false)
    const other = bookOf(rule(['plant/#'], ['subscribe']), rule(['plant/secret/#'], []))
    expect(new Grants(other, 'a', 'u').mayReceive('plant/secret/x')).toBe(true)
  })

  it('a rule for one action leaves the other to later rules', () => {
    const book = bookOf(rule(['a'], ['publish']), rule(['#'], ['subscribe'], 'u'))
    expect(new Grants(book, 'c', 'u').mayReceive('a')).toBe(true)
    expect(new Grants(book, 'c', 'u').mayPublish('b')).toBe(false)
  })

  it('a rule for a user is not for those without a name', () => {
    const book = bookOf(rule(['a'], both, 'undefined'), rule(['b'], both, ''))
    expect(new Grants(book, 'c', undefined).mayPublish('a')).toBe(false)
    expect(new Grants(book, 'c', undefined).mayPublish('b')).toBe(false)
  })

  it('a wildcard grants nothing of the names with $', () => {
    const grants = new Grants(bookOf(rule(['#', '+/telemetry/#'])), 'a', 'u')
    for (const filter of ['$stream/telemetry', '$stream/telemetry/x', '$queue/jobs', '$SYS/#']) {
      expect(grants.maySubscribe(filter), filter).toBe(false)
    }
    expect(grants.mayReceive('$SYS/broker/uptime')).toBe(false)
    expect(grants.mayReplay('telemetry', 'x')).toBe(false)
    expect(grants.maySubscribe('#')).toBe(true)
  })

  it('a replay is granted by stream and topic', () => {
    const book = bookOf(rule(['$stream/telemetry/devices/{client}/#', '$stream/open']))
    const grants = new Grants(book, 'd1', undefined)
    expect(grants.maySubscribe('$stream/telemetry')).toBe(true)
    expect(grants.mayReplay('telemetry', 'devices/d1/temp')).toBe(true)
    expect(grants.mayReplay('telemetry', 'devices/d2/temp')).toBe(false)
    expect(grants.mayReplay('open', 'anything/at/all')).toBe(true)
    expect(grants.mayReplay('closed', 'anything')).toBe(false)
  })

  it.each(['', '#', '+', 'a/b', 'd1/#', '/', 'd+', '$SYS'])(
    'X2: the client id %j does not widen a grant',
    (name) => {
      const book = bookOf(rule(['{client}/#', 'devices/{client}/#', 'u/{user}/x']))
      const grants = new Grants(book, name, name)
      for (const topic of ['devices/d1/x', 'devices/d1', 'a/b/c', '$SYS/x', 'u//x', 'x', '/x']) {
        const own = name === '$SYS' && topic === 'devices/$SYS/x'
        expect(grants.mayReceive(topic), topic).toBe(own)
      }
    },
  )

  it('a consumer group is granted as a whole or not: what one may not have is lost to all', () => {
    const wide = new Grants(bookOf(rule(['$stream/plant'])), 'c', undefined)
    const narrow = new Grants(bookOf(rule(['$stream/plant/line1/#'])), 'c', undefined)
    const but = bookOf(rule(['$stream/plant/secret'], []), rule(['$stream/plant']))
    const most = new Grants(but, 'c', undefined)
    const answers = (filter: string) => [wide, narrow, most].map((one) => one.maySubscribe(filter))
    expect(answers('$share/g/$stream/plant')).toEqual([true, false, false])
    expect(answers('$share/g/$stream@-6h/plant')).toEqual([true, false, false])
    expect(answers('$share/g/$stream/plant/line1/+')).toEqual([true, true, true])
    expect(answers('$stream/plant')).toEqual([true, true, true])
  })

  it('X2: names of object members are names like others', () => {
    const book = bookOf(rule(['d/{client}/{user}']))
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const grants = new Grants(book, name, name)
      expect(grants.mayPublish(`d/${name}/${name}`)).toBe(true)
      expect(grants.mayPublish('d/x/y')).toBe(false)
      expect(grants.mayPublish(name)).toBe(false)
    }
  })

  it('new rules hold with the next question, and what was known is forgotten', () => {
    const book = bookOf(rule(['a'], both))
    const grants = new Grants(book, 'c', 'u')
    expect(grants.mayPublish('a')).toBe(true)
    book.replace([rule(['b'], both)])
    expect(grants.mayPublish('a')).toBe(false)
    expect(grants.mayPublish('b')).toBe(true)
    book.replace(undefined)
    expect(grants.mayPublish('a')).toBe(true)
  })

  it('answers the same for more topics than it remembers', () => {
    const grants = new Grants(bookOf(rule(['t/+'], both)), 'c', 'u')
    for (let round = 0; round < 2; round++) {
      for (let n = 0; n < 1500; n++) {
        expect(grants.mayPublish(`t/${n}`)).toBe(true)
        expect(grants.mayPublish(`s/${n}`)).toBe(false)
      }
    }
  })
})

describe('filters against filters', () => {
  const seed = 20_261_121
  const random = new SeededRandom(seed)
  const levels = ['a', 'b', '', '$x', '+']
  const name = (wild: boolean): string => {
    const depth = 1 + random.below(3)
    const parts = Array.from({ length: depth }, () =>
      random.pick(wild ? levels : ['a', 'b', '', '$x']),
    )
    if (wild && random.oneIn(3)) parts.push('#')
    return parts.join('/') || 'a'
  }
  const topics = Array.from({ length: 300 }, () => name(false))

  it(`agree with matching topic by topic (seed ${seed})`, () => {
    for (let run = 0; run < 3000; run++) {
      const [one, other] = [name(true), name(true)]
      const [a, b] = [one.split('/'), other.split('/')]
      const inBoth = topics.filter(
        (topic) => topicMatches(one, topic) && topicMatches(other, topic),
      )
      if (inBoth.length > 0) expect(overlaps(a, b), `${one} ${other}`).toBe(true)
      expect(overlaps(a, b)).toBe(overlaps(b, a))
      if (contains(a, b)) {
        const outside = topics.filter(
          (topic) => topicMatches(other, topic) && !topicMatches(one, topic),
        )
        expect(outside, `${one} contains ${other}`).toEqual([])
      }
    }
    for (const topic of topics) {
      const filter = name(true)
      const covered = overlaps(filter.split('/'), topic.split('/'))
      expect(covered, `${filter} ${topic}`).toBe(topicMatches(filter, topic))
    }
  })
})
