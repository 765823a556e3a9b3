/** What the bridges do, as numbers; the words are in GET /v1/bridges. */
import type { BridgeStatus, Bridges, ForwardStatus } from '../bridge/bridge.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, type Sample, type Samples } from './read-metric.ts'

/** Adds nothing where there is no bridge. */
export function addBridgeMetrics(registry: MetricRegistry, bridges: Bridges | undefined): void {
  if (bridges === undefined) return
  const status = onePerScrape(() => bridges.status())
  const all = (samples: (bridge: BridgeStatus) => Samples) => async (): Promise<Samples> =>
    (await status()).flatMap((bridge) => samples(bridge))
  const each = (value: (bridge: BridgeStatus) => number) =>
    all((bridge) => [[{ bridge: bridge.name }, value(bridge)]])
  const forwards = (value: (forward: ForwardStatus) => number) =>
    all(({ name, forwards: list }) =>
      list.map((forward): Sample => [{ bridge: name, forward: forward.cursor }, value(forward)]),
    )
  const own = ['bridge']
  const gauge = (name: string, help: string, value: (bridge: BridgeStatus) => number) =>
    readGauge(registry, name, help, each(value), own)
  const counter = (name: string, help: string, value: (bridge: BridgeStatus) => number) =>
    readCounter(registry, name, help, each(value), own)
  const ofForward = ['bridge', 'forward']
  const forwardGauge = (name: string, help: string, value: (forward: ForwardStatus) => number) =>
    readGauge(registry, name, help, forwards(value), ofForward)
  const forwardCounter = (name: string, help: string, value: (forward: ForwardStatus) => number) =>
    readCounter(registry, name, help, forwards(value), ofForward)

  gauge('sluice_bridge_up', '1 while the bridge is connected to its upstream.', ({ state }) =>
    state === 'up' ? 1 : 0,
  )
  readGauge(
    registry,
    'sluice_bridge_state',
    '1 for the state that the bridge is in.',
    all(({ name, state }) => [[{ bridge: name, state }, 1]]),
    ['bridge', 'state'],
  )
  counter(
    'sluice_bridge_reconnects_total',
    'Links to the upstream that were made, but for the first.',
    ({ reconnects }) => reconnects,
  )
  counter(
    'sluice_bridge_received_total',
    'Messages of the upstream that were kept here.',
    (one) => one.received,
  )
  counter(
    'sluice_bridge_expired_total',
    'Messages of the upstream that were stale and not delivered.',
    ({ receiveExpired }) => receiveExpired,
  )
  addForwardMetrics(forwardGauge, forwardCounter)
}

type Add = (name: string, help: string, value: (forward: ForwardStatus) => number) => void

function addForwardMetrics(gauge: Add, counter: Add): void {
  gauge(
    'sluice_bridge_lag_records',
    'Records that are not at the upstream.',
    (one) => one.lagRecords,
  )
  gauge(
    'sluice_bridge_lag_bytes',
    'Bytes that are not at the upstream, estimated.',
    (one) => one.lagBytes,
  )
  gauge(
    'sluice_bridge_lag_age_seconds',
    'Age of the oldest record that is not at the upstream.',
    ({ lagAgeMs }) => lagAgeMs / 1000,
  )
  gauge(
    'sluice_bridge_inflight',
    'Messages that are under way, unacknowledged.',
    (one) => one.inflight,
  )
  counter(
    'sluice_bridge_sent_records_total',
    'Records that the upstream acknowledged.',
    (one) => one.sentRecords,
  )
  counter(
    'sluice_bridge_sent_messages_total',
    'Messages that were sent.',
    (one) => one.sentMessages,
  )
  counter(
    'sluice_bridge_sent_bytes_total',
    'Bytes of the messages that were sent.',
    (one) => one.sentBytes,
  )
  counter(
    'sluice_bridge_gap_records_total',
    'Records that the forward left out with a gap: stale, too large, refused for good.',
    ({ gapRecords }) => gapRecords,
  )
}

/** Every metric of one scrape asks in the same moment: they share the answer. */
function onePerScrape<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined
  return () => {
    asked ??= ask().finally(() => {
      asked = undefined
    })
    return asked
  }
}
