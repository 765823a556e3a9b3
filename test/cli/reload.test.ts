/** SIGHUP, on the gateway as a process. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import mqtt, { type IClientOptions } from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { hashPassword } from '../../src/access/access.ts'
import { writePassword } from '../../src/access/password-file.ts'
import { authority, hasOpenssl } from '../support/certificates.ts'
import { eventually } from '../support/front-end.ts'
import { startGateway } from '../support/gateway-process.ts'
import { tempDir } from '../support/temp-dir.ts'

async function password(file: string, user: string, text: string): Promise<void> {
  writePassword(file, user, await hashPassword(Buffer.from(text), 10))
}

async function connected(port: number, options: IClientOptions) {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    reconnectPeriod: 0,
    protocolVersion: 5,
    ...options,
  })
  onTestFinished(async () => void client.end(true))
  return client
}

it('reads users, rules, token and certificates again, and keeps what is broken', async () => {
  const folder = tempDir()
  const at = (name: string) => path.join(folder, name)
  const [passwords, token] = [at('passwords'), at('token')]
  await password(passwords, 'ada', 'first')
  await password(passwords, 'bob', 'secret')
  writeFileSync(token, 'token-number-one-of-two')
  const rule = (topics: string) =>
    `[[access.rule]]\nuser = "*"\nallow = ["publish", "subscribe"]\ntopics = ${topics}\n`
  const head = `
[http]
address = "127.0.0.1:0"
token_file = "${token}"
[access]
password_file = "${passwords}"
`
  const gateway = await startGateway({ config: head + rule('["a/#"]') })
  onTestFinished(() => gateway.dispose())
  const configFile = /Config {2}(\S+)/.exec(gateway.output())?.[1] ?? ''
  const listener = '[[mqtt.listener]]\naddress = "127.0.0.1:0"\n'
  const metrics = async (bearer: string) => {
    const headers = { authorization: `Bearer ${bearer}` }
    return (await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`, { headers })).status
  }
  let times = 0
  const hangUp = async (sentence: string) => {
    const before = gateway.output().length
    process.kill(gateway.pid, 'SIGHUP')
    await eventually(() => gateway.output().slice(before).includes(sentence), sentence)
    times++
  }

  const ada = await connected(gateway.mqttPort, { username: 'ada', password: 'first' })
  const bob = await connected(gateway.mqttPort, { username: 'bob', password: 'secret' })
  await expect(bob.publishAsync('b', 'x', { qos: 1 })).rejects.toThrow(/Not authorized/)
  expect([await metrics('token-number-one-of-two'), await metrics('x')]).toEqual([200, 401])

  const told = new Promise<{ reasonCode?: number }>((resolve) => {
    ada.once('disconnect', resolve)
  })
  await password(passwords, 'ada', 'second')
  writeFileSync(configFile, listener + head + rule('["a/#", "b"]'))
  writeFileSync(token, 'token-number-two-of-two')
  await hangUp('passwords and rules were read again')
  expect((await told).reasonCode).toBe(0x87)
  await bob.publishAsync('b', 'x', { qos: 1 })
  await eventually(async () => (await metrics('token-number-two-of-two')) === 200, 'a new token')
  expect(await metrics('token-number-one-of-two')).toBe(401)
  await connected(gateway.mqttPort, { username: 'ada', password: 'second' })

  writeFileSync(configFile, `${listener}${head}user = 1\n`)
  await hangUp('everything stays as it was')
  writeFileSync(configFile, listener)
  await hangUp('[access] was removed: that takes a restart')
  writeFileSync(configFile, listener + head + rule('["#"]'))
  writeFileSync(passwords, 'not a line of a password file')
  await hangUp('passwords and rules: the old ones stay')
  await bob.publishAsync('b', 'x', { qos: 1 })
  await expect(bob.publishAsync('c', 'x', { qos: 1 })).rejects.toThrow(/Not authorized/)
  expect(await metrics('token-number-two-of-two')).toBe(200)
  expect(times).toBe(4)
})

// Skipped where it is missing: apt install openssl
it.skipIf(!hasOpenssl)('one gateway has listeners of every kind', async () => {
  const folder = tempDir()
  const ca = authority(folder)
  const { certFile, keyFile } = ca.sign('server')
  const tls = `tls = { cert_file = "${certFile}", key_file = "${keyFile}" }`
  const config = ['', 'websocket = true', tls, `websocket = true\n${tls}`]
    .map((kind) => `[[mqtt.listener]]\naddress = "127.0.0.1:0"\n${kind}\n`)
    .join('')
  const gateway = await startGateway({ config })
  onTestFinished(() => gateway.dispose())
  const line = /^ {2}MQTT\s+(.*)$/m.exec(gateway.output())?.[1] ?? ''
  const ports = [...line.matchAll(/:(\d+)/g)].map(([, port]) => Number(port))
  const urls = ['mqtt', 'ws', 'mqtts', 'wss'].map(
    (scheme, n) => `${scheme}://localhost:${ports[n]}`,
  )
  for (const url of urls) {
    const client = await mqtt.connectAsync(`${url}/mqtt`, {
      ca: readFileSync(ca.certFile),
    })
    await client.publishAsync(`from/${url.split(':')[0]}`, 'x', { qos: 1 })
    await client.endAsync()
  }
  expect(ports).toHaveLength(4)
})
