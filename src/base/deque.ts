/** A first-in first-out list over a ring: push and shift cost the same at any length. */
export class Deque<T> {
  private items: (T | undefined)[] = []
  private head = 0
  private count = 0

  get length(): number {
    return this.count
  }

  push(item: T): void {
    if (this.count === this.items.length) this.grow()
    this.items[(this.head + this.count) & (this.items.length - 1)] = item
    this.count++
  }

  peek(): T | undefined {
    return this.count === 0 ? undefined : this.items[this.head]
  }

  /** The item that `index` others stand before; undefined past the end. */
  at(index: number): T | undefined {
    if (index >= this.count) return undefined
    return this.items[(this.head + index) & (this.items.length - 1)]
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined
    const item = this.items[this.head]
    this.items[this.head] = undefined
    this.head = (this.head + 1) & (this.items.length - 1)
    this.count--
    // An emptied list gives its memory back: most of them are empty most of the time.
    if (this.count === 0 && this.items.length > 64) this.clear()
    return item
  }

  clear(): void {
    this.items = []
    this.head = 0
    this.count = 0
  }

  private grow(): void {
    const next = new Array<T | undefined>(Math.max(8, this.items.length * 2))
    for (let i = 0; i < this.count; i++) {
      next[i] = this.items[(this.head + i) & (this.items.length - 1)]
    }
    this.items = next
    this.head = 0
  }
}
