/** What consumers do, as numbers; who they are is in GET /v1/groups and /v1/queues. */
import type { Consumers, GroupInfo, QueueInfo } from '../consumers/consumers.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, type Samples, single } from './read-metric.ts'

/** Clients name their groups: a scrape must not grow with what they think of. */
const GROUPS_SHOWN_MAX = 200

export function addConsumerMetrics(registry: MetricRegistry, consumers: Consumers): void {
  addGroups(registry, consumers)
  addQueues(registry, consumers)
  readGauge(registry, 'sluice_replays', 'Replays that clients have now.', () =>
    single(consumers.replayCount),
  )
  readGauge(
    registry,
    'sluice_replay_lag_records',
    'Records that the replays have not sent, together.',
    () => single(consumers.replayLag),
  )
}

function addGroups(registry: MetricRegistry, consumers: Consumers): void {
  const gauge = (name: string, help: string, value: (group: GroupInfo) => number): void => {
    const samples = (): Samples =>
      consumers
        .groupInfos()
        .slice(0, GROUPS_SHOWN_MAX)
        .map((info) => [{ group: info.group, stream: info.stream }, value(info)])
    readGauge(registry, name, help, samples, ['group', 'stream'])
  }
  gauge('sluice_group_members', 'Members of a consumer group.', ({ members }) => members.length)
  gauge('sluice_group_lag_records', 'Records that a group has not acknowledged.', ({ lag }) => lag)
}

function addQueues(registry: MetricRegistry, consumers: Consumers): void {
  const samples = (value: (queue: QueueInfo) => number) => (): Samples =>
    consumers.queueInfos().map((info) => [{ queue: info.queue }, value(info)])
  const gauge = (name: string, help: string, value: (queue: QueueInfo) => number): void =>
    readGauge(registry, name, help, samples(value), ['queue'])
  const counter = (name: string, help: string, value: (queue: QueueInfo) => number): void =>
    readCounter(registry, name, help, samples(value), ['queue'])
  gauge('sluice_queue_depth', 'Messages that are not settled.', ({ depth }) => depth)
  gauge('sluice_queue_inflight', 'Messages with consumers now.', ({ inflight }) => inflight)
  gauge('sluice_queue_consumers', 'Consumers of a queue.', (one) => one.consumers.length)
  gauge(
    'sluice_queue_oldest_age_seconds',
    'Age of the oldest message that is not settled.',
    ({ oldestAgeMs }) => oldestAgeMs / 1000,
  )
  counter(
    'sluice_queue_redeliveries_total',
    'Deliveries that were not the first.',
    (one) => one.redeliveries,
  )
  counter(
    'sluice_queue_dead_letters_total',
    'Messages that were put away.',
    (one) => one.deadLetters,
  )
}
