import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { compileTemplate, matchCaptures, type TemplateValues } from '../../src/bridge/template.ts'
import { topicFault, topicMatches } from '../../src/log/topics.ts'

const values = (more: Partial<TemplateValues> = {}): TemplateValues => ({
  gateway: 'gw-1',
  topic: 'devices/a/telemetry',
  stream: 'telemetry',
  client: 'a',
  captures: [],
  rest: '',
  ...more,
})
const fill = (text: string, more: Partial<TemplateValues> = {}) =>
  compileTemplate(text)(values(more))

it('puts the values where their placeholders stand', () => {
  expect(fill('sites/{gateway}/{topic}')).toBe('sites/gw-1/devices/a/telemetry')
  expect(fill('{stream}/{client}/{stream}')).toBe('telemetry/a/telemetry')
  expect(fill('plain/topic')).toBe('plain/topic')
  expect(fill('{2}/{1}/{#}', { captures: ['x', 'y'], rest: 'r/s' })).toBe('y/x/r/s')
  expect(fill('a/{3}/b', { captures: ['x'] })).toBe('a//b')
})

it('leaves braces that name nothing as they are', () => {
  expect(fill('{}/{gate}/{0}/{{topic}}')).toBe('{}/{gate}/{0}/{devices/a/telemetry}')
})

it('never fills in what a value brings', () => {
  expect(fill('{client}/{topic}', { client: '{topic}', topic: '{gateway}' })).toBe(
    '{topic}/{gateway}',
  )
})

it('makes one level of a client id, and another of every other one', () => {
  expect(fill('c/{client}', { client: 'a/+/#' })).toBe('c/a%2F%2B%2F%23')
  expect(fill('c/{client}', { client: 'a%2F\0' })).toBe('c/a%252F%00')
})

it('keeps values out of the topics that are the broker’s own', () => {
  expect(fill('{#}', { rest: '$SYS/broker' })).toBe('%24SYS/broker')
  expect(fill('x/{#}', { rest: '$SYS/broker' })).toBe('x/$SYS/broker')
  expect(fill('$aws/rules/r/{topic}')).toBe('$aws/rules/r/devices/a/telemetry')
})

it('says "_" for nothing', () => {
  expect(fill('{#}')).toBe('_')
})

it('cuts what is too long between characters, and tells two such topics apart', () => {
  const long = (end: string) => fill('a{topic}', { topic: `${'😀'.repeat(16_400)}${end}` })
  expect(topicFault(long('x'))).toBeUndefined()
  expect(Buffer.byteLength(long('x'))).toBeGreaterThan(65_530)
  expect(long('x')).toMatch(/😀~[0-9a-f]{16}$/u)
  expect(long('x')).not.toBe(long('y'))
})

it('finds what the wildcards matched', () => {
  expect(matchCaptures('a/+/b/+/#', 'a/1/b/2/c/d')).toEqual({ captures: ['1', '2'], rest: 'c/d' })
  expect(matchCaptures('a/#', 'a')).toEqual({ captures: [], rest: '' })
  expect(matchCaptures('+/x', '/x')).toEqual({ captures: [''], rest: '' })
  expect(matchCaptures('a/+', 'a/b/c')).toBeUndefined()
  expect(matchCaptures('#', '$SYS/x')).toBeUndefined()
})

it('gives valid topics for any values, and matches as subscriptions do', () => {
  const random = new SeededRandom(6)
  const pieces = ['a', '+', '#', '/', '$', '\0', '{#}', '{1}', 'ü', '😀', '%', '', 'x'.repeat(999)]
  const word = (safe: boolean) => {
    const some = Array.from({ length: random.below(6) }, () => random.pick(pieces)).join('')
    return safe ? some.replace(/[+#\0]/g, '') : some
  }
  const placeholders = ['{gateway}', '{topic}', '{stream}', '{client}', '{#}', '{1}', '{2}']
  for (let run = 0; run < 3000; run++) {
    const template = `${word(true)}${random.pick(placeholders)}${word(true)}`
    const topic = word(true) || 'a'
    const filled = compileTemplate(template)(
      values({ client: word(false), topic, captures: [word(true)], rest: word(true) }),
    )
    expect(topicFault(filled), `seed 6, run ${run}: ${template}`).toBeUndefined()
    const filter = topic
      .split('/')
      .map((level) => (random.oneIn(2) ? '+' : level))
      .slice(0, 1 + random.below(4))
      .concat(random.oneIn(3) ? ['#'] : [])
      .join('/')
    expect(matchCaptures(filter, topic) !== undefined, `${filter} on ${topic}`).toBe(
      topicMatches(filter, topic),
    )
  }
})
