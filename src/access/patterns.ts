/**
 * Filters of rules against what clients ask for, level by level. A topic is a filter without
 * wildcards, so one function answers both "does the rule cover this topic?" and "could the rule
 * grant a part of this filter?".
 */

/** Whether some topic matches both filters, given as levels. */
export function overlaps(one: readonly string[], other: readonly string[]): boolean {
  if (hidesReserved(one[0], other[0]) || hidesReserved(other[0], one[0])) return false
  for (let depth = 0; ; depth++) {
    const [a, b] = [one[depth], other[depth]]
    // "a/#" matches "a" itself as well [MQTT-4.7.1-2].
    if (a === '#' || b === '#') return true
    if (a === undefined || b === undefined) return a === b
    if (a !== '+' && b !== '+' && a !== b) return false
  }
}

/** Whether every topic that matches `filter` matches `pattern` too. */
export function contains(pattern: readonly string[], filter: readonly string[]): boolean {
  if (hidesReserved(pattern[0], filter[0])) return false
  for (let depth = 0; ; depth++) {
    const [wide, narrow] = [pattern[depth], filter[depth]]
    if (wide === '#') return true
    if (narrow === '#') return false
    if (wide === undefined || narrow === undefined) return wide === narrow
    if (wide !== '+' && wide !== narrow) return false
  }
}

/** Wildcards at the first level do not match names that begin with $ [MQTT-4.7.2-1]. */
function hidesReserved(wildcard: string | undefined, name: string | undefined): boolean {
  return (wildcard === '#' || wildcard === '+') && name?.startsWith('$') === true
}

/**
 * A pattern with `{client}` and `{user}` replaced; undefined when it can match nothing. A name that
 * is empty, or has a wildcard or "/" in it, would make the pattern wider than whoever wrote the
 * rule thought of, and one that begins with "$" would reach the gateway's own names: such names
 * never match.
 */
export function substituted(
  pattern: string,
  client: string,
  user: string | undefined,
): string | undefined {
  const parts = pattern.split(/(\{client\}|\{user\})/)
  let text = ''
  for (const part of parts) {
    const name = part === '{client}' ? client : part === '{user}' ? user : undefined
    if (part !== '{client}' && part !== '{user}') text += part
    else if (name === undefined || name === '' || /[+#/]/.test(name)) return undefined
    else text += name
  }
  return text.startsWith('$') && !pattern.startsWith('$') ? undefined : text
}

export function hasPlaceholder(pattern: string): boolean {
  return pattern.includes('{client}') || pattern.includes('{user}')
}

/**
 * What of a subscription's filter the rules are asked about: the filter behind `$share/<group>/`;
 * a replay without the place where it begins (`$stream@-6h/a` is `$stream/a`); and for a replay of
 * a whole stream everything below it.
 */
export function ruledFilter(filter: string): string {
  let text = filter
  if (text.startsWith('$share/')) {
    const groupEnd = text.indexOf('/', '$share/'.length)
    text = groupEnd < 0 ? '' : text.slice(groupEnd + 1)
  }
  if (text.startsWith('$stream@')) text = `$stream${text.slice(placeEnd(text))}`
  return wholeStream(text)
}

/** Whether the filter joins a consumer group: `$share/<group>/$stream/<name>…`. */
export function isGroupFilter(filter: string): boolean {
  return /^\$share\/[^/]*\/\$stream[@/]/.test(filter)
}

function placeEnd(text: string): number {
  const slash = text.indexOf('/')
  return slash < 0 ? text.length : slash
}

/** `$stream/<name>` means all of it, in rules as in subscriptions. */
export function wholeStream(text: string): string {
  return /^\$stream\/[^/#+]+$/.test(text) ? `${text}/#` : text
}
