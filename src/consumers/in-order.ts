/**
 * Messages that a client has and has not settled yet, in the order in which they were sent, and up
 * to where all of them are settled: acknowledgements come in any order, a cursor moves in one.
 *
 * Slots are used again, each with its own callback: a message costs no allocation here.
 */
import { assert } from '../base/assert.ts'
import type { Position } from '../log/log.ts'
import type { Settled } from './member.ts'

export class Slot {
  /** Position or offset, whichever the owner counts by. */
  number = 0
  position: Position | undefined
  isSettled = false
  readonly settled: Settled

  constructor(owner: InOrder) {
    this.settled = (outcome) => owner.settle(this, outcome)
  }
}

export interface InOrderOwner {
  /** All before `next` is settled now. */
  settledUpTo(next: number): void
  /** A client refused this one, or could not be sent it; it counts as settled. */
  refused(position: Position): void
}

export class InOrder {
  private owner: InOrderOwner
  /** A ring: [head, head + count) are out. */
  private ring: Slot[] = []
  private head = 0
  private count = 0

  constructor(owner: InOrderOwner) {
    this.owner = owner
  }

  get length(): number {
    return this.count
  }

  /** A message goes out; numbers rise. */
  open(number: number, position: Position): Slot {
    if (this.count === this.ring.length) this.grow()
    const slot = this.ring[(this.head + this.count) & (this.ring.length - 1)] as Slot
    slot.number = number
    slot.position = position
    slot.isSettled = false
    this.count++
    return slot
  }

  /** What was opened last did not go out after all. */
  takeBack(slot: Slot): void {
    const last = this.ring[(this.head + this.count - 1) & (this.ring.length - 1)]
    assert(this.count > 0 && last === slot, 'only the last one opened is taken back')
    this.count--
  }

  settle(slot: Slot, outcome: 'acked' | 'refused'): void {
    assert(!slot.isSettled, 'a message is settled once')
    slot.isSettled = true
    if (outcome === 'refused' && slot.position !== undefined) this.owner.refused(slot.position)
    let next = -1
    while (this.count > 0) {
      const first = this.ring[this.head] as Slot
      if (!first.isSettled) break
      next = first.number + 1
      this.head = (this.head + 1) & (this.ring.length - 1)
      this.count--
    }
    if (next >= 0) this.owner.settledUpTo(next)
  }

  /** The position of the first that is not settled, and the numbers of those that are. */
  outstanding(): { readonly first: Position | undefined; readonly ahead: readonly number[] } {
    const ahead: number[] = []
    let first: Position | undefined
    for (let i = 0; i < this.count; i++) {
      const slot = this.ring[(this.head + i) & (this.ring.length - 1)] as Slot
      if (slot.isSettled) ahead.push(slot.number)
      else first ??= slot.position
    }
    return { first, ahead }
  }

  /** What is settled from now on is nobody's business; `told` hears that something was. */
  abandon(told: () => void): void {
    this.owner = { settledUpTo: told, refused: told }
  }

  private grow(): void {
    const old = this.ring
    const ring: Slot[] = []
    for (let i = 0; i < this.count; i++) {
      ring.push(old[(this.head + i) & (old.length - 1)] as Slot)
    }
    const capacity = Math.max(8, old.length * 2)
    while (ring.length < capacity) ring.push(new Slot(this))
    this.ring = ring
    this.head = 0
  }
}
