import mqtt from 'mqtt'
import { describe, onTestFinished } from 'vitest'
import { MqttUplink } from '../../src/bridge/mqtt-uplink.ts'
import { testUplink, type UplinkFixture } from '../contract/uplink.ts'
import { FakeUpstream } from '../support/fake-uplink.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { describeWithMosquitto, startMosquitto } from '../support/mosquitto.ts'

describe('the fake uplink', () => {
  testUplink(async () => {
    const upstream = new FakeUpstream()
    upstream.receiveMaximum = 20
    return {
      uplink: upstream,
      arrived: () => upstream.arrived.map(({ payload }) => payload.toString()),
      send: (topic, payload) => upstream.send({ topic, payload: Buffer.from(payload) }),
      cut: () => upstream.cut(),
      holdAcks: () => {
        upstream.holdsAcks = true
      },
      refuse: async () => {
        upstream.refusal = { kind: 'refused', sentence: 'is not there' }
      },
    }
  })
})

for (const protocol of [5, 4] as const) {
  describeWithMosquitto(`the MQTT uplink over protocol ${protocol}, to Mosquitto`, () => {
    testUplink(() => toMosquitto(protocol))
  })
}

async function toMosquitto(protocol: 4 | 5): Promise<UplinkFixture> {
  const broker = await startMosquitto()
  const proxy = await startFaultProxy(broker.port)
  const arrived: string[] = []
  const far = await mqtt.connectAsync(broker.url, { reconnectPeriod: 0 })
  onTestFinished(() => {
    far.end(true)
  })
  far.on('message', (_topic, payload) => arrived.push(payload.toString()))
  await far.subscribeAsync('up/#', { qos: 2 })
  return {
    uplink: new MqttUplink({
      url: `mqtt://127.0.0.1:${proxy.port}`,
      protocol,
      clientId: 'bridge-under-test',
      keepaliveMs: 60_000,
      inflightMax: 20,
      keepsSession: true,
      usesQos2: true,
    }),
    arrived: () => arrived,
    send: (topic, payload) => far.publishAsync(topic, payload, { qos: 1 }),
    cut: () => proxy.cut(),
    holdAcks: () => proxy.dropAcks(),
    refuse: () => proxy.refuse(),
  }
}
