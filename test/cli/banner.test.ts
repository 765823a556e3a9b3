import { expect, it } from 'vitest'
import { banner } from '../../src/cli/banner.ts'
import type { Gateway } from '../../src/gateway.ts'
import { configOf } from '../config/support.ts'

const tls = 'tls = { cert_file = "s.pem", key_file = "s.key" }'
const access = '[access]\npassword_file = "passwords"\n'

function hint(toml: string): string {
  const config = configOf(toml)
  const http = config.http
  const gateway = { mqtt: config.mqtt.listeners, http } as unknown as Gateway
  const place = { version: '1.2.3', invocation: 'sluice' }
  const text = banner(gateway, { config, file: undefined }, {}, place)
  return text.split('\n')[6]?.trim() ?? ''
}

it.each([
  ['', "mosquitto_sub -t '#' -v"],
  [access, "mosquitto_sub -u USER -P PASSWORD -t '#' -v"],
  [
    `${access}[[mqtt.listener]]\naddress = "0.0.0.0:8883"\n${tls}\n`,
    "mosquitto_sub -h HOST --cafile CA.pem -p 8883 -u USER -P PASSWORD -t '#' -v",
  ],
  [
    `[[mqtt.listener]]\naddress = "127.0.0.1:8883"\n${tls}\n[[mqtt.listener]]\naddress = "127.0.0.1:2"\n`,
    "mosquitto_sub -p 2 -t '#' -v",
  ],
  [
    '[[mqtt.listener]]\naddress = "127.0.0.1:8083"\nwebsocket = true\n',
    'connect an MQTT client to the WebSocket at /mqtt',
  ],
])('of %j, what to try next works: %s', (toml, command) => {
  expect(hint(toml)).toBe(command)
})
