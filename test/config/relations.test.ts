import { describe, expect, test } from 'vitest'
import { faultOf, faultsOf } from './support.ts'

const bridge = (text: string, url = 'mqtts://b') =>
  `[[bridge]]\nname = "b"\nurl = "${url}"\n${text}`
const stream = (name: string) => `[[stream]]\nname = "${name}"\ntopics = []\n`
const queue = (name: string, text = '') => `[[queue]]\nname = "${name}"\ntopics = []\n${text}\n`
const listener = (address: string) => `[[mqtt.listener]]\naddress = "${address}"\n`
const tls = (text: string) =>
  `[[mqtt.listener]]\ntls = { cert_file = "c", key_file = "k", require_client_cert = true ${text} }`

/** What holds, its twin that does not, and the fault of the twin. */
const relations: readonly (readonly [string, string, string, string])[] = [
  [
    'the backlog holds two packets',
    'mqtt = { max_packet = "1MiB", max_publish_backlog = "2MiB" }',
    'mqtt = { max_packet = "1MiB", max_publish_backlog = "2047KiB" }',
    'mqtt.max_publish_backlog: 2047KiB is too small, expected at least twice mqtt.max_packet: 2MiB',
  ],
  [
    'the backlog counts against the default packet',
    'mqtt.max_publish_backlog = "512KiB"',
    'mqtt.max_publish_backlog = "511KiB"',
    'mqtt.max_publish_backlog: 511KiB is too small',
  ],
  [
    'two listeners have two addresses',
    listener('127.0.0.1:1') + listener('127.0.0.1:2'),
    listener('127.0.0.1:1') + listener('127.0.0.1:1'),
    'mqtt.listener[1].address: 127.0.0.1:1 is taken by mqtt.listener[0].address',
  ],
  [
    'http has an address of its own',
    `http.address = "127.0.0.1:2"\n${listener('127.0.0.1:1')}`,
    `http.address = "127.0.0.1:1"\n${listener('127.0.0.1:1')}`,
    'http.address: 127.0.0.1:1 is taken by mqtt.listener[0].address',
  ],
  [
    'http does not take the default listener',
    'http.address = "127.0.0.1:1884"',
    'http.address = "127.0.0.1:1883"',
    'http.address: 127.0.0.1:1883 is taken by mqtt.listener.address',
  ],
  [
    'a listener beyond loopback says who may connect',
    `access.anonymous = true\n${listener('0.0.0.0:1883')}`,
    listener('0.0.0.0:1883'),
    'mqtt.listener[0].address: other machines can reach 0.0.0.0:1883, and without [access] nothing',
  ],
  [
    'http beyond loopback has a token',
    'http = { address = "[::]:8080", token_file = "t" }',
    'http = { address = "[::]:8080" }',
    'http.address: other machines can reach [::]:8080, and without a token everyone may ask: write',
  ],
  [
    'required client certificates have an authority',
    tls(', client_ca_file = "a"'),
    tls(''),
    'mqtt.listener[0].tls.client_ca_file: client certificates are required',
  ],
  [
    'streams have different names',
    stream('a') + stream('b'),
    stream('a') + stream('a'),
    'stream[1].name: "a" is already the name of stream[0].name',
  ],
  [
    'a queue is not named as a stream is',
    stream('a') + queue('b'),
    stream('a') + queue('a'),
    'queue[0].name: "a" is already the name of stream[0].name',
  ],
  [
    'a queue is not named as the built-in stream is',
    queue('a'),
    queue('default'),
    'queue[0].name: "default" is already the name of the built-in stream',
  ],
  [
    'bridges have different names, which streams may have too',
    stream('b') + bridge(''),
    bridge('') + bridge(''),
    'bridge[1].name: "b" is already the name of bridge[0].name, names of bridges must differ',
  ],
  [
    'dead letters go to a stream',
    stream('dead') + queue('a', 'dead_letter = "dead"'),
    stream('dead') + queue('a', 'dead_letter = "daed"'),
    'queue[0].dead_letter: there is no stream "daed", did you mean "dead"?',
  ],
  [
    'dead letters do not go to a queue',
    stream('s') + queue('a', 'dead_letter = "s"'),
    stream('s') + queue('a', 'dead_letter = "a"'),
    'queue[0].dead_letter: there is no stream "a", ',
  ],
  [
    'a forward takes from a stream or a queue',
    stream('s') + queue('q') + bridge('forward = [{ stream = "s" }, { stream = "q" }]'),
    stream('s') + queue('q') + bridge('forward = [{ stream = "s" }, { stream = "telemetry" }]'),
    'bridge[0].forward[1].stream: there is no stream or queue "telemetry", expected one of s, default, q',
  ],
  [
    'a forward may take from the built-in stream',
    stream('s') + bridge('forward = [{ stream = "default" }]'),
    stream('s') + bridge('forward = [{ stream = "defualt" }]'),
    'bridge[0].forward[0].stream: there is no stream or queue "defualt", did you mean "default"?',
  ],
  [
    "a bridge's certificate has its key",
    bridge('tls = { cert_file = "c", key_file = "k" }'),
    bridge('tls = { cert_file = "c" }'),
    'bridge[0].tls: a certificate needs its key',
  ],
  [
    'tls goes with a url that has it',
    bridge('tls = { ca_file = "a" }', 'wss://b'),
    bridge('tls = { ca_file = "a" }', 'ws://b'),
    'bridge[0].tls: a ws:// upstream has no TLS',
  ],
  [
    'the longest wait is not shorter than the first',
    bridge('backoff = { first = "2m" }'),
    bridge('backoff = { first = "121s" }'),
    'bridge[0].backoff.most: 2m is shorter than the first wait, expected at least 121s',
  ],
]

test.each(relations)('%s', (_sentence, holds, broken, fault) => {
  expect(faultsOf(holds)).toEqual([])
  expect(faultOf(broken)).toContain(fault)
})

describe('topic filters of a stream', () => {
  const topics = (filter: string) =>
    `[[stream]]\nname = "a"\ntopics = [${JSON.stringify(filter)}]\n`

  test.each(['#', '+', 'a/#', '+/b/+', '/', 'a//b', '$me/x', 'x'.repeat(65_535)])(
    '%j is one',
    (filter) => {
      expect(faultsOf(topics(filter))).toEqual([])
    },
  )

  test.each(['', 'a#', 'a/#/b', 'a+', 'a/+b/c', '$share/g/a', '$SYS/x', '$SYS', '$queue/a'])(
    '%j is none',
    (filter) => {
      expect(faultOf(topics(filter))).toMatch(
        /^stream\[0\]\.topics\[0\]: .* expected an MQTT topic/,
      )
    },
  )

  test('a null character or 65,536 bytes make none', () => {
    expect(faultOf(topics('a\u0000'))).toContain('contains the null character')
    expect(faultOf(topics('x'.repeat(65_536)))).toContain('is longer than 65,535 bytes')
  })
})

test('topics of a bridge take their placeholders and no wildcard', () => {
  const forward = (to: string) => bridge(`forward = [{ stream = "default", to = "${to}" }]`)
  expect(faultsOf(forward('sites/{gateway}/{topic}'))).toEqual([])
  expect(faultOf(forward('sites/{gatway}'))).toContain('has the unknown placeholder {gatway}')
  expect(faultsOf(forward('{1}/{12}/{#}/{client}/{stream}'))).toEqual([])
  expect(faultOf(forward('sites/{0}'))).toContain('has the unknown placeholder {0}')
  expect(faultOf(forward('sites/#'))).toContain('contains the wildcard')
  const receive = (to: string) => bridge(`receive = [{ from = "a/#", to = "${to}" }]`)
  expect(faultsOf(receive('commands/{#}'))).toEqual([])
  expect(faultOf(receive('commands/#'))).toContain('contains the wildcard')
})

test('a broken value gives its own fault, and no relation follows from it (C2)', () => {
  expect(faultOf('mqtt = { max_packet = "1MB", max_publish_backlog = "1KiB" }')).toContain('found')
  expect(faultOf(listener('0.0.0.0'))).toContain('expected "host:port"')
  expect(faultOf(queue('a', 'dead_letter = 5'))).toContain('found 5')
  expect(faultOf('access = true\nmqtt.listener = [{ address = "0.0.0.0:1" }]')).toContain('a table')
})

test('a rule with a placeholder that nothing replaces is a fault: it would grant nothing', () => {
  const rule = (topic: string) =>
    `[access]\n[[access.rule]]\nuser = "*"\nallow = []\ntopics = ["${topic}"]\n`
  expect(faultOf(rule('a/{clientid}/#'))).toContain('has the unknown placeholder {clientid}')
  expect(faultsOf(rule('a/{client}/{user}/#'))).toEqual([])
})
