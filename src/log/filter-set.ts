/**
 * A list of topic filters as a tree of their levels: a session with 1,000 filters that reads 20,000
 * topics walks a few nodes a topic, where a list would be compared 20 million times.
 */
interface Node {
  readonly children: Map<string, Node>
  /** A filter ends here. */
  isEnd: boolean
  /** A filter goes on with # here. */
  isOpen: boolean
}

export class FilterSet {
  private readonly root = node()

  /** All of them valid. */
  constructor(filters: readonly string[]) {
    for (const filter of filters) this.add(filter)
  }

  /** Whether one of them matches, by the rules of `topicMatches`. */
  matches(topic: string): boolean {
    return reaches(this.root, topic.split('/'), 0, topic.startsWith('$'))
  }

  private add(filter: string): void {
    let at = this.root
    for (const level of filter.split('/')) {
      if (level === '#') {
        at.isOpen = true
        return
      }
      let next = at.children.get(level)
      if (next === undefined) {
        next = node()
        at.children.set(level, next)
      }
      at = next
    }
    at.isEnd = true
  }
}

function node(): Node {
  return { children: new Map(), isEnd: false, isOpen: false }
}

/** `isClosed`: the next level is a $ name, which no wildcard matches [MQTT-4.7.2-1]. */
function reaches(at: Node, levels: readonly string[], depth: number, isClosed: boolean): boolean {
  if (at.isOpen && !isClosed) return true
  const level = levels[depth]
  if (level === undefined) return at.isEnd
  const exact = at.children.get(level)
  if (exact !== undefined && reaches(exact, levels, depth + 1, false)) return true
  const any = isClosed ? undefined : at.children.get('+')
  return any !== undefined && reaches(any, levels, depth + 1, false)
}
