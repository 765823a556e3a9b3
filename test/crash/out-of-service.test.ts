/**
 * G5 for the whole gateway: a stream that cannot be opened takes nothing else along, whatever part
 * asks for it at the start.
 */
import fs from 'node:fs'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { startGateway } from '../support/gateway-process.ts'
import { RawClient } from '../support/raw-client.ts'
import { tempDir } from '../support/temp-dir.ts'

const CONFIG = `
[[stream]]
name = "lost"
topics = ["lost/#"]

[[stream]]
name = "rest"
topics = ["#"]

[[queue]]
name = "jobs"
topics = ["jobs/#"]

[[bridge]]
name = "cloud"
url = "mqtt://127.0.0.1:1"
  [[bridge.forward]]
  stream = "lost"
  to = "{topic}"
  [[bridge.forward]]
  stream = "rest"
  to = "{topic}"
`

it.each(['lost', 'jobs'])('serves the rest when stream %s cannot be opened', async (stream) => {
  const dataDir = path.join(tempDir(), 'data')
  const first = await startGateway({ config: CONFIG, dataDir })
  onTestFinished(() => first.dispose())
  const keeper = { clientId: 'keeper', clean: false }
  const before = await RawClient.connect(first.mqttPort, keeper)
  await before.subscribe('#', 1)
  for (const topic of ['lost/a', 'jobs/a', 'rest/a']) {
    before.publish(topic, 'kept', { qos: 2, messageId: 7, retain: true })
    await before.until(() => before.publishes.some((one) => one.topic === topic), topic)
    before.send({ cmd: 'pubrel', messageId: 7 })
    await before.ping()
  }
  await first.kill()
  before.end()
  const folder = path.join(dataDir, 'streams', stream)
  fs.renameSync(folder, path.join(dataDir, 'aside'))
  fs.writeFileSync(folder, 'in the way')
  const second = await startGateway({ config: CONFIG, dataDir, probe: '/healthz' })
  onTestFinished(() => second.dispose())
  const client = await RawClient.connect(second.mqttPort, keeper)
  client.publish('rest/b', 'new', { qos: 1, messageId: 1 })
  await client.packet('puback')
  await client.until(
    () => client.payloads.includes('new'),
    'the message of a stream that is served',
  )
  expect(client.closed, second.output()).toBe(false)
})
