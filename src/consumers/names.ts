/**
 * What a client names in SUBSCRIBE to become a consumer, and where it wants to begin. Pure: whether
 * it may is decided before, whether a stream or queue is there is asked of whoever knows.
 *
 *   $stream/<name>[/<filter>]                     a replay
 *   $stream@<from>/<name>[/<filter>]              the same with its start, for MQTT 3.1.1
 *   $share/<group>/$stream/<name>[/<filter>]      a member of a consumer group (also $stream@)
 *   $queue/<name>                                 a consumer of a work queue
 *   $share/<group>/<filter>                       MQTT 5's shared subscription
 */
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import { asPartition, type Partition, type Start } from '../log/log.ts'
import { parseStart } from '../log/start.ts'
import { filterFault } from '../log/topics.ts'

export type ConsumerName =
  | {
      readonly kind: 'replay'
      readonly stream: string
      /** Undefined: all topics of the stream. */
      readonly filter: string | undefined
      /** As written in `$stream@<from>`. */
      readonly from: string | undefined
    }
  | {
      readonly kind: 'group'
      readonly group: string
      readonly stream: string
      readonly filter: string | undefined
      readonly from: string | undefined
    }
  | { readonly kind: 'queue'; readonly queue: string }
  | { readonly kind: 'shared'; readonly group: string; readonly filter: string }
  /** One of these forms, but wrong; the sentence says how. */
  | { readonly kind: 'invalid'; readonly sentence: string }

/** Undefined: an ordinary topic filter. */
export function parseConsumerName(text: string): ConsumerName | undefined {
  if (text === '$share' || text.startsWith('$share/'))
    return parseShare(text.slice('$share/'.length))
  if (text === '$queue' || text.startsWith('$queue/')) return parseQueue(text)
  if (text === '$stream' || /^\$stream[/@]/.test(text)) return parseReplay(text)
  return undefined
}

/** What a consumer asked for beside its name: user properties of SUBSCRIBE, or `$stream@<from>`. */
export interface StartRequest {
  readonly from: string | undefined
  /** User property `stream-offset`; it comes before `from`. */
  readonly streamOffset: string | undefined
  /** User property `stream-partition`. */
  readonly streamPartition: string | undefined
}

export type StartOutcome =
  | {
      readonly kind: 'start'
      readonly start: Start
      /** Undefined: all partitions. */
      readonly partition: Partition | undefined
    }
  | { readonly kind: 'invalid'; readonly sentence: string }

/** Where to begin in a stream with that many partitions; without a wish, at `otherwise`. */
export function parseStartRequest(
  request: StartRequest,
  partitions: number,
  otherwise: Start,
  clock: Clock,
): StartOutcome {
  const partition = parsePartition(request.streamPartition, partitions)
  if (typeof partition === 'string') return { kind: 'invalid', sentence: partition }
  const text = request.streamOffset ?? request.from
  if (text === undefined) return { kind: 'start', start: otherwise, partition }
  let start: Start
  try {
    start = parseStart(text, clock)
  } catch (thrown) {
    if (!(thrown instanceof SluiceError)) throw thrown
    return {
      kind: 'invalid',
      sentence:
        `stream-offset: ${thrown.message}: write earliest, latest, a time back such as -6h, ` +
        'an ISO time, a Unix time in ms, or <partition>:<offset>',
    }
  }
  if (start.kind === 'offset') {
    const fault = offsetFault(start.partition, partition, partitions)
    if (fault !== undefined) return { kind: 'invalid', sentence: fault }
  }
  return { kind: 'start', start, partition }
}

function offsetFault(
  named: Partition,
  asked: Partition | undefined,
  partitions: number,
): string | undefined {
  if (named >= partitions) {
    return `stream-offset: there is no partition ${named}, ${rangeOf(partitions)}`
  }
  if (asked !== undefined && asked !== named) {
    return `stream-offset is of partition ${named}, but stream-partition says ${asked}`
  }
  return undefined
}

function parsePartition(text: string | undefined, count: number): Partition | string | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,5}$/.test(text) && Number(text) < count) return asPartition(Number(text))
  return `stream-partition: there is no partition "${text}", ${rangeOf(count)}`
}

function rangeOf(partitions: number): string {
  return partitions === 1 ? 'the stream has only 0' : `the stream has 0 to ${partitions - 1}`
}

function parseShare(rest: string): ConsumerName {
  const slash = rest.indexOf('/')
  const group = slash < 0 ? rest : rest.slice(0, slash)
  const filter = slash < 0 ? '' : rest.slice(slash + 1)
  // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
  if (group === '' || /[+#]/.test(group)) {
    return invalid('$share/<group>/<filter>: the group must be a name without + and #')
  }
  if (filter === '') return invalid(`$share/${group}/ is not followed by a topic filter`)
  const inner = parseConsumerName(filter)
  if (inner === undefined) return shared(group, filter)
  switch (inner.kind) {
    case 'replay':
      return { ...inner, kind: 'group', group }
    case 'invalid':
      return inner
    case 'queue':
      return invalid(`a queue is shared by itself: subscribe to $queue/${inner.queue}`)
    case 'group':
    case 'shared':
      return invalid('$share stands once in a subscription')
    default:
      return inner satisfies never
  }
}

function shared(group: string, filter: string): ConsumerName {
  const fault = filterFault(filter)
  return fault === undefined
    ? { kind: 'shared', group, filter }
    : invalid(`the topic filter "${filter}" ${fault}`)
}

function parseQueue(text: string): ConsumerName {
  const queue = text.slice('$queue/'.length)
  if (queue === '' || /[/+#]/.test(queue)) {
    return invalid('$queue/<name> names one queue, without a topic filter')
  }
  return { kind: 'queue', queue }
}

function parseReplay(text: string): ConsumerName {
  const levels = text.split('/')
  const [head = '', stream = ''] = levels
  const from = head.startsWith('$stream@') ? head.slice('$stream@'.length) : undefined
  if (from === '') return invalid('$stream@<from>/<name> does not say from where')
  if (stream === '' || /[+#]/.test(stream)) {
    return invalid('$stream/<name>[/<filter>] names one stream')
  }
  const filter = levels.length > 2 ? levels.slice(2).join('/') : undefined
  const fault = filter === undefined ? undefined : filterFault(filter)
  if (fault !== undefined) return invalid(`the topic filter "${filter}" ${fault}`)
  // All topics is no filter: then every record is wanted, and nothing is compared.
  return { kind: 'replay', stream, filter: filter === '#' ? undefined : filter, from }
}

function invalid(sentence: string): ConsumerName {
  return { kind: 'invalid', sentence }
}
