/**
 * What must hold between settings, each rule a function of its own. Most outages of such a box are
 * settings that contradict each other: they are found here, before anything is opened.
 */
import { type Address, formatAddress, isLoopback, overlaps } from './address.ts'
import { defaults } from './defaults.ts'
import {
  addressFact,
  durationOf,
  type Fact,
  type Facts,
  factsOf,
  sizeOf,
  tableOf,
  tablesOf,
  textFact,
} from './facts.ts'
import type { Fault } from './fault.ts'
import { show } from './fault.ts'
import { nearest } from './nearest.ts'
import { urlScheme } from './schema/bridge.ts'
import { formatDuration, formatSize } from './units.ts'

/** Every relation that does not hold in the parsed tree `source`, whatever else is wrong in it. */
export function relationFaults(source: unknown): Fault[] {
  const facts = factsOf(source)
  return relations.flatMap((relation) => relation(facts))
}

const relations: readonly ((facts: Facts) => Fault[])[] = [
  backlogHoldsPackets,
  listenersDiffer,
  httpDiffers,
  listenersBeyondLoopback,
  httpBeyondLoopback,
  clientCertNeedsAuthority,
  userFromNeedsAuthority,
  streamAndQueueNamesDiffer,
  bridgeNamesDiffer,
  deadLettersExist,
  forwardsExist,
  bridgeTlsFits,
  backoffGrows,
]

/** One packet is taken in while another waits: less would stop every publisher for good. */
function backlogHoldsPackets({ mqtt }: Facts): Fault[] {
  const packet = sizeOf(mqtt.max_packet, defaults.mqtt.maxPacketBytes)
  const backlog = sizeOf(mqtt.max_publish_backlog, defaults.mqtt.maxPublishBacklogBytes)
  if (packet === undefined || backlog === undefined || backlog >= 2 * packet) return []
  const message =
    `${formatSize(backlog)} is too small, expected at least twice mqtt.max_packet: ` +
    `${formatSize(2 * packet)}`
  return [{ path: 'mqtt.max_publish_backlog', message }]
}

function listenerAddresses({ listeners }: Facts): readonly Fact<Address>[] {
  return listeners.flatMap((listener) => addressFact(listener, defaults.listener))
}

function httpAddress({ http }: Facts): readonly Fact<Address>[] {
  return addressFact({ path: 'http', value: http }, defaults.http)
}

function listenersDiffer(facts: Facts): Fault[] {
  const addresses = listenerAddresses(facts)
  return addresses.flatMap((address, index) => taken(address, addresses.slice(0, index)))
}

function httpDiffers(facts: Facts): Fault[] {
  return httpAddress(facts).flatMap((address) => taken(address, listenerAddresses(facts)))
}

function taken({ path, value }: Fact<Address>, earlier: readonly Fact<Address>[]): Fault[] {
  const holder = earlier.find((other) => overlaps(other.value, value))
  if (holder === undefined) return []
  const message = `${formatAddress(value)} is taken by ${holder.path}, expected another port`
  return [{ path, message }]
}

/** [access] without `anonymous = true` lets nobody in whom it does not know. */
function listenersBeyondLoopback(facts: Facts): Fault[] {
  if (facts.access !== undefined) return []
  return listenerAddresses(facts)
    .filter(({ value }) => !isLoopback(value))
    .map(({ path, value }) => ({
      path,
      message:
        `other machines can reach ${formatAddress(value)}, and without [access] nothing says who ` +
        'may connect: write [access] with a password_file, or with anonymous = true for everyone',
    }))
}

function httpBeyondLoopback(facts: Facts): Fault[] {
  if (facts.http.token_file !== undefined) return []
  return httpAddress(facts)
    .filter(({ value }) => !isLoopback(value))
    .map(({ path, value }) => ({
      path,
      message:
        `other machines can reach ${formatAddress(value)}, and without a token everyone may ask: ` +
        'write http.token_file, or an address of this machine alone such as "127.0.0.1:8080"',
    }))
}

function clientCertNeedsAuthority({ listeners }: Facts): Fault[] {
  return listeners.flatMap(({ path, value }) => {
    const tls = tableOf(value.tls)
    if (tls.require_client_cert !== true || tls.client_ca_file !== undefined) return []
    const message = 'client certificates are required, but nothing can check them: write this key'
    return [{ path: `${path}.tls.client_ca_file`, message }]
  })
}

function userFromNeedsAuthority({ listeners }: Facts): Fault[] {
  return listeners.flatMap(({ path, value }) => {
    const tls = tableOf(value.tls)
    if (tls.user_from === undefined || tls.client_ca_file !== undefined) return []
    const message = 'a certificate that nothing checks names nobody: write client_ca_file as well'
    return [{ path: `${path}.tls.user_from`, message }]
  })
}

/** A queue's messages lie in a stream of its own name, so the two share their names. */
function streamAndQueueNamesDiffer({ streamNames, queueNames }: Facts): Fault[] {
  return repeated([...streamNames, ...queueNames], 'streams and queues')
}

function bridgeNamesDiffer({ bridges }: Facts): Fault[] {
  return repeated(
    bridges.flatMap((bridge) => textFact(bridge, 'name')),
    'bridges',
  )
}

function repeated(names: readonly Fact<string>[], kind: string): Fault[] {
  const holders = new Map<string, string>()
  return names.flatMap(({ path, value }) => {
    const holder = holders.get(value)
    if (holder === undefined) {
      holders.set(value, path)
      return []
    }
    const message = `${show(value)} is already the name of ${holder}, names of ${kind} must differ`
    return [{ path, message }]
  })
}

function deadLettersExist({ queues, streamNames }: Facts): Fault[] {
  const wanted = queues.flatMap((queue) => textFact(queue, 'dead_letter'))
  return missing(wanted, streamNames, 'stream')
}

function forwardsExist({ bridges, streamNames, queueNames }: Facts): Fault[] {
  const wanted = bridges
    .flatMap(({ path, value }) => tablesOf(value.forward, `${path}.forward`))
    .flatMap((forward) => textFact(forward, 'stream'))
  return missing(wanted, [...streamNames, ...queueNames], 'stream or queue')
}

function missing(
  wanted: readonly Fact<string>[],
  there: readonly Fact<string>[],
  kind: string,
): Fault[] {
  const names = there.map(({ value }) => value)
  return wanted
    .filter(({ value }) => !names.includes(value))
    .map(({ path, value }) => {
      const near = nearest(value, names)
      const advice =
        near === undefined ? `expected one of ${names.join(', ')}` : `did you mean "${near}"?`
      return { path, message: `there is no ${kind} ${show(value)}, ${advice}` }
    })
}

function bridgeTlsFits({ bridges }: Facts): Fault[] {
  return bridges.flatMap((bridge) => {
    if (bridge.value.tls === undefined) return []
    const tls = tableOf(bridge.value.tls)
    const path = `${bridge.path}.tls`
    const faults: Fault[] = []
    if ((tls.cert_file === undefined) !== (tls.key_file === undefined)) {
      const message =
        'a certificate needs its key: expected both cert_file and key_file, or neither'
      faults.push({ path, message })
    }
    const scheme = textFact(bridge, 'url').map(({ value }) => urlScheme(value))[0]
    if (scheme === 'mqtt:' || scheme === 'ws:') {
      const message = `a ${scheme}// upstream has no TLS: expected mqtts:// or wss:// in the url`
      faults.push({ path, message })
    }
    return faults
  })
}

function backoffGrows({ bridges }: Facts): Fault[] {
  return bridges.flatMap(({ path, value }) => {
    const backoff = tableOf(value.backoff)
    const firstMs = durationOf(backoff.first, defaults.bridge.backoff.firstMs)
    const mostMs = durationOf(backoff.most, defaults.bridge.backoff.mostMs)
    if (firstMs === undefined || mostMs === undefined || firstMs <= mostMs) return []
    const message =
      `${formatDuration(mostMs)} is shorter than the first wait, ` +
      `expected at least ${formatDuration(firstMs)}`
    return [{ path: `${path}.backoff.most`, message }]
  })
}
