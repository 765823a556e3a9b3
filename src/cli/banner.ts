import path from 'node:path'
import type { Config } from '../config/config.ts'
import type { Gateway } from '../gateway.ts'
import type { Place, Settings } from './place.ts'

interface Address {
  readonly host: string
  readonly port: number
}

/** What a person wants to know once the gateway runs: where it is, and what to try next. */
export function banner(
  gateway: Gateway,
  settings: Settings,
  place: Place,
  { version, invocation }: { readonly version: string; readonly invocation: string },
): string {
  const { config, file } = settings
  const streams = config.streams.map(({ name }) => name)
  const lines = [
    `Sluice ${version} is running. Ctrl-C stops it.`,
    `  MQTT    ${gateway.mqtt.map(addressText).join(', ')}`,
    `  HTTP    http://${addressText(gateway.http)} (/healthz, /readyz, /metrics)`,
    `  Data    ${path.resolve(config.gateway.dataDir)} (${streamsText(streams)})`,
    `  Config  ${file ?? 'none: the defaults hold'}`,
    'Next, in another terminal:',
    `  ${watchCommand(gateway.mqtt, config)}`,
    `  ${tailCommand(invocation, streams[0] ?? 'default', place)}`,
  ]
  return `${lines.join('\n')}\n`
}

/** IPv6 addresses stand in brackets, as they do in a URL. */
export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

function streamsText(names: readonly string[]): string {
  return names.length === 1 ? `stream ${names[0]}` : `streams ${names.join(', ')}`
}

/**
 * For the listener that asks the least, with what only the user knows in capitals. The client's own
 * defaults, localhost and 1883, are left out.
 */
function watchCommand(bound: readonly Address[], { mqtt, access }: Config): string {
  const { listeners } = mqtt
  const plain = listeners.findIndex(({ tls, websocket }) => tls === undefined && !websocket)
  const index = plain >= 0 ? plain : listeners.findIndex(({ websocket }) => !websocket)
  // Mosquitto's clients of many systems speak no WebSocket.
  if (index < 0) return 'connect an MQTT client to the WebSocket at /mqtt'
  const { host, port } = bound[index] ?? { host: '127.0.0.1', port: 1883 }
  const tls = listeners[index]?.tls
  const isAny = host === '0.0.0.0' || host === '::' || host === '127.0.0.1'
  const options = [
    ...(tls === undefined ? [] : ['-h HOST', '--cafile CA.pem']),
    ...(tls?.requireClientCert === true ? ['--cert CLIENT.pem', '--key CLIENT.key'] : []),
    ...(isAny || tls !== undefined ? [] : [`-h ${host}`]),
    ...(port === 1883 ? [] : [`-p ${port}`]),
    ...(access === undefined || access.anonymous ? [] : ['-u USER', '-P PASSWORD']),
    "-t '#' -v",
  ]
  return `mosquitto_sub ${options.join(' ')}`
}

function tailCommand(invocation: string, stream: string, place: Place): string {
  const options = [
    ...(place.config === undefined ? [] : [`--config ${shellWord(place.config)}`]),
    ...(place.data === undefined ? [] : [`--data ${shellWord(place.data)}`]),
  ]
  return [`${invocation} tail ${stream} --follow`, ...options].join(' ')
}

function shellWord(text: string): string {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
