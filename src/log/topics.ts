/**
 * MQTT topic names and filters, clause 4.7: validity and matching. They live with the log because
 * streams, reads and subscriptions all match by them.
 */

/** A topic or filter is at most 65,535 bytes of UTF-8 [MQTT-4.7.3-3]. */
const TOPIC_BYTES_MAX = 65_535

/**
 * Why `filter` is no topic filter [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1]; undefined when it
 * is one.
 */
export function filterFault(filter: string): string | undefined {
  if (filter === '') return 'is empty'
  if (filter.includes('\u0000')) return 'contains the null character'
  if (Buffer.byteLength(filter) > TOPIC_BYTES_MAX) return 'is longer than 65,535 bytes'
  const levels = filter.split('/')
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) {
      return 'has a # that is not the whole last level'
    }
    if (level.includes('+') && level !== '+') return 'has a + that is not a whole level'
  }
  return undefined
}

/** Why `topic` is no topic name [MQTT-4.7.1-1] [MQTT-4.7.3-1]; undefined when it is one. */
export function topicFault(topic: string): string | undefined {
  if (topic === '') return 'is empty'
  if (topic.includes('+') || topic.includes('#')) return 'contains the wildcard + or #'
  if (topic.includes('\u0000')) return 'contains the null character'
  if (Buffer.byteLength(topic) > TOPIC_BYTES_MAX) return 'is longer than 65,535 bytes'
  return undefined
}

/**
 * Whether `topic` is matched by `filter`, both valid. A filter that begins with a wildcard does not
 * match a topic that begins with $ [MQTT-4.7.2-1]; `a/#` matches `a` too [MQTT-4.7.1-2].
 */
export function topicMatches(filter: string, topic: string): boolean {
  if (filter === topic) return true
  if (topic.startsWith('$') && (filter.startsWith('#') || filter.startsWith('+'))) return false
  const wanted = filter.split('/')
  const levels = topic.split('/')
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true
    const level = levels[index]
    if (level === undefined || (want !== '+' && want !== level)) return false
  }
  return wanted.length === levels.length
}
