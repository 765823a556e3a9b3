/**
 * Topics in a tree of their levels, so that a filter with wildcards visits what it can match and
 * nothing else. Names are keys of Maps only.
 *
 * A node holds one child without a Map: in `devices/<id>/state` every second node has exactly one,
 * and a Map costs 200 bytes. 100,000 such topics take 21 MiB this way and 39 MiB with a Map each.
 */

class Node<E> {
  entry: E | undefined
  /** The only child and its name; both undefined with none, or with `children`. */
  name: string | undefined
  child: Node<E> | undefined
  /** From the second child on, and then for good. */
  children: Map<string, Node<E>> | undefined

  get(name: string): Node<E> | undefined {
    return this.children === undefined ? this.single(name) : this.children.get(name)
  }

  add(name: string, child: Node<E>): void {
    if (this.children !== undefined) {
      this.children.set(name, child)
    } else if (this.child === undefined) {
      this.name = name
      this.child = child
    } else {
      this.children = new Map([[this.name ?? '', this.child]])
      this.children.set(name, child)
      this.name = undefined
      this.child = undefined
    }
  }

  remove(name: string): void {
    if (this.children !== undefined) this.children.delete(name)
    else this.child = undefined
  }

  get isEmpty(): boolean {
    const hasChild = this.child !== undefined || (this.children?.size ?? 0) > 0
    return this.entry === undefined && !hasChild
  }

  private single(name: string): Node<E> | undefined {
    return this.name === name ? this.child : undefined
  }
}

export class TopicIndex<E> {
  private readonly root = new Node<E>()
  private count = 0

  get size(): number {
    return this.count
  }

  get(topic: string): E | undefined {
    let node: Node<E> | undefined = this.root
    for (const level of topic.split('/')) {
      node = node.get(level)
      if (node === undefined) return undefined
    }
    return node.entry
  }

  set(topic: string, entry: E): void {
    let node = this.root
    for (const level of topic.split('/')) {
      let next = node.get(level)
      if (next === undefined) {
        next = new Node()
        node.add(level, next)
      }
      node = next
    }
    if (node.entry === undefined) this.count++
    node.entry = entry
  }

  /** True when it was there; what it leaves empty goes as well. */
  delete(topic: string): boolean {
    const levels = topic.split('/')
    const path = [this.root]
    for (const level of levels) {
      const next = path.at(-1)?.get(level)
      if (next === undefined) return false
      path.push(next)
    }
    const last = path.at(-1)
    if (last?.entry === undefined) return false
    last.entry = undefined
    this.count--
    for (let depth = levels.length; depth > 0 && path[depth]?.isEmpty === true; depth--) {
      path[depth - 1]?.remove(levels[depth - 1] ?? '')
    }
    return true
  }

  /**
   * The entries whose topics match `filter`, and `undefined` for each node on the way that has
   * none: whoever walks counts both as steps and can stop between any two. What changes meanwhile
   * may be met or not; what does not change is met exactly once.
   */
  *match(filter: string): Generator<E | undefined, void> {
    yield* walk(this.root, filter.split('/'), 0)
  }
}

function* walk<E>(
  node: Node<E>,
  wanted: readonly string[],
  depth: number,
): Generator<E | undefined, void> {
  const want = wanted[depth]
  if (want === undefined) {
    yield node.entry
  } else if (want === '#') {
    // `a/#` matches `a` too [MQTT-4.7.1-2].
    if (depth > 0) yield node.entry
    yield* below(node, depth === 0)
  } else if (want === '+') {
    for (const [name, child] of childrenOf(node)) {
      if (depth > 0 || !name.startsWith('$')) yield* walk(child, wanted, depth + 1)
    }
  } else {
    const child = node.get(want)
    if (child !== undefined) yield* walk(child, wanted, depth + 1)
  }
}

/** All below a node; at the root a wildcard does not match what begins with $ [MQTT-4.7.2-1]. */
function* below<E>(node: Node<E>, isRoot: boolean): Generator<E | undefined, void> {
  for (const [name, child] of childrenOf(node)) {
    if (isRoot && name.startsWith('$')) continue
    yield child.entry
    yield* below(child, false)
  }
}

function childrenOf<E>(node: Node<E>): Iterable<readonly [string, Node<E>]> {
  if (node.children !== undefined) return node.children
  return node.child === undefined ? [] : [[node.name ?? '', node.child]]
}
