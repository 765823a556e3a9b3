/** Whether some topic is matched by both filters, each valid. */
export function filtersOverlap(one: string, other: string): boolean {
  return levelsOverlap(one.split('/'), other.split('/'))
}

function levelsOverlap(one: readonly string[], other: readonly string[]): boolean {
  for (let depth = 0; ; depth++) {
    const a = one[depth]
    const b = other[depth]
    if (a === '#' || b === '#') return depth > 0 || !isReserved(one, other)
    // `a/#` matches `a` too [MQTT-4.7.1-2].
    if (a === undefined) return b === undefined || b === '#'
    if (b === undefined) return false
    if (depth === 0 && isReserved(one, other) && a !== b) return false
    if (a !== b && a !== '+' && b !== '+') return false
  }
}

/** Wildcards at the first level do not match topics that begin with $ [MQTT-4.7.2-1]. */
function isReserved(one: readonly string[], other: readonly string[]): boolean {
  return one[0]?.startsWith('$') === true || other[0]?.startsWith('$') === true
}
