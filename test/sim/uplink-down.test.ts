/** G3, G4 from the device to the cloud: the link is gone for a third of the time. */
import { createWriteStream } from 'node:fs'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { eventually } from '../support/front-end.ts'
import { describeWithMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { everyProfile, lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

const config = (port: number): string => `
[disk]
segment = "1MiB"

[[stream]]
name = "telemetry"
topics = ["devices/+/telemetry"]
partitions = 4
key = "topic:1"

[[stream]]
name = "alarms"
topics = ["devices/+/alarm"]
key = "topic:1"

[[bridge]]
name = "cloud"
url = "mqtt://127.0.0.1:${port}"
backoff = { first = "20ms", most = "200ms", stable_after = "1s" }

  [[bridge.forward]]
  stream = "alarms"
  to = "{topic}"
  priority = 0

  [[bridge.forward]]
  stream = "telemetry"
  to = "{topic}"
  priority = 5
`

describeWithMosquitto('an uplink that is down', () => {
  it(
    'gets every reading to the cloud, in order, once the link is back',
    async () => {
      const cloud = await startMosquitto()
      const proxy = await startFaultProxy(cloud.port)
      const site = await Site.open(everyProfile(60, 10), { config: config(proxy.port) })
      const file = path.join(site.folder, 'upstream.jsonl')
      const output = createWriteStream(file)
      const client = await mqtt.connectAsync(cloud.url, { protocolVersion: 5 })
      onTestFinished(() => {
        client.end(true)
      })
      let arrived = 0
      client.on('message', (topic, payload) => {
        arrived += 1
        output.write(`${JSON.stringify({ topic, payload_base64: payload.toString('base64') })}\n`)
      })
      await client.subscribeAsync('devices/#', { qos: 1 })
      await site.live(async () => {
        await wait((SECONDS * 1_000) / 3)
        await proxy.refuse()
        await wait((SECONDS * 1_000) / 3)
        await proxy.restore()
      })
      await site.drain()
      await eventually(
        () => arrived >= site.field.tally.of('acknowledged'),
        'as many messages at the cloud as were acknowledged',
      )
      // What is in doubt arrives too: until nothing comes any more.
      await expect
        .poll(async () => {
          const before = arrived
          await wait(300)
          return arrived - before
        })
        .toBe(0)
      await site.gateway.stop()
      await new Promise((resolve) => output.end(resolve))
      const farEnd = { name: 'upstream', files: [file], cursors: ['bridge/cloud/'] }
      const result = await site.audit([{ ...farEnd, streams: [] }])
      tell('uplink down', result)
      expect(result.acknowledged).toBeGreaterThan(100)
      expect(lostOf(result)).toEqual({ logged: 0, upstream: 0 })
      expect(result.stages.map(({ outOfOrder }) => outOfOrder)).toEqual([0, 0])
      expect(result.stages.map(({ explained }) => explained)).toEqual([0, 0])
    },
    TIMEOUT_MS,
  )
})
