import type { MqttStats } from '../mqtt/stats.ts'
import type { MetricRegistry } from './prometheus.ts'
import { byLabel, readCounter, readGauge, type Samples, single } from './read-metric.ts'

/** Adds what the front end counts. */
export function addMqttMetrics(registry: MetricRegistry, stats: MqttStats): void {
  addMessages(registry, stats)
  addConnections(registry, stats)
}

function addMessages(registry: MetricRegistry, stats: MqttStats): void {
  readCounter(
    registry,
    'sluice_messages_received_total',
    'PUBLISH packets received, by QoS.',
    () => byQos(stats.received),
    ['qos'],
  )
  readCounter(
    registry,
    'sluice_messages_acknowledged_total',
    'PUBACK and PUBREC packets sent.',
    () => single(stats.acknowledged),
  )
  readCounter(
    registry,
    'sluice_messages_delivered_total',
    'PUBLISH packets sent to subscribers, by QoS; a redelivery counts again.',
    () => byQos(stats.delivered),
    ['qos'],
  )
  readCounter(
    registry,
    'sluice_messages_dropped_total',
    'Messages that were not taken, or that a subscriber did not get, by reason.',
    () => byLabel('reason', stats.dropped),
    ['reason'],
  )
  readCounter(
    registry,
    'sluice_mqtt_received_bytes_total',
    'Bytes read from MQTT connections.',
    () => single(stats.receivedBytes),
  )
  readCounter(registry, 'sluice_mqtt_sent_bytes_total', 'Bytes written to MQTT connections.', () =>
    single(stats.sentBytes),
  )
}

function addConnections(registry: MetricRegistry, stats: MqttStats): void {
  const gauge = (name: string, help: string, value: () => number) =>
    readGauge(registry, name, help, () => single(value()))
  gauge('sluice_sockets', 'Open sockets of MQTT listeners.', () => stats.sockets)
  gauge('sluice_connections', 'MQTT connections that were accepted and are open.', () => {
    return stats.connections
  })
  readGauge(
    registry,
    'sluice_sessions',
    'Sessions that outlive their connection, by whether their client is connected.',
    () => byLabel('state', stats.sessions()),
    ['state'],
  )
  gauge('sluice_retained_messages', 'Topics that have a retained message.', () => stats.retained)
  readCounter(
    registry,
    'sluice_retained_refused_total',
    'Messages that were not retained because as many as may be are.',
    () => single(stats.notRetained),
  )
  gauge('sluice_subscriptions', 'Subscriptions of connected clients.', () => stats.subscriptions)
  gauge(
    'sluice_publishers_paused',
    'Publishers that are not read: too much of theirs waits for the disk, or a stream is full.',
    () => stats.pausedPublishers,
  )
  gauge(
    'sluice_subscribers_lagging',
    'Subscribers that read from the log because they fell behind the live tail.',
    () => stats.laggingSubscribers,
  )
  readCounter(registry, 'sluice_connections_accepted_total', 'CONNECTs that were accepted.', () =>
    single(stats.connectionsAccepted),
  )
  readCounter(registry, 'sluice_connections_refused_total', 'CONNECTs that were refused.', () =>
    single(stats.connectionsRefused),
  )
  readCounter(
    registry,
    'sluice_connections_closed_total',
    'Connections ended, by reason.',
    () => byLabel('reason', stats.closed),
    ['reason'],
  )
  readCounter(
    registry,
    'sluice_denied_total',
    'What access refused: logins by reason, and publishes, subscriptions and wills.',
    () => byLabel('what', stats.denied),
    ['what'],
  )
  readCounter(
    registry,
    'sluice_limits_met_total',
    'How often a limit of the configuration was met, by limit.',
    () => byLabel('limit', stats.limited),
    ['limit'],
  )
}

function byQos(counts: readonly number[]): Samples {
  return counts.map((count, qos) => [{ qos }, count])
}
