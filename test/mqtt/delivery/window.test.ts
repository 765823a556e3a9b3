import { describe, expect, it } from 'vitest'
import { asPosition } from '../../../src/log/log.ts'
import { Window } from '../../../src/mqtt/delivery/window.ts'

const open = (window: Window, qos: 1 | 2, position = 0) =>
  window.open(qos, 'events', asPosition(position))

const ids = (window: Window) => [...window.entries()].map(({ packetId }) => packetId)

describe('Window', () => {
  it('W1: has room for as many messages as its size', () => {
    const window = new Window(2)
    open(window, 1)
    expect(window.hasRoom).toBe(true)
    const second = open(window, 1)
    expect(window.hasRoom).toBe(false)
    expect(() => open(window, 1)).toThrow()
    expect(window.puback(second)).toMatchObject({ stream: 'events', packetId: second })
    expect(window.hasRoom).toBe(true)
  })

  it('W2: does not use an identifier again while it is in flight', () => {
    const window = new Window(3)
    const held = open(window, 1)
    const used = new Set<number>()
    for (let i = 0; i < 70_000; i++) {
      const id = open(window, 1)
      used.add(id)
      window.puback(id)
    }
    expect(used.has(held)).toBe(false)
    expect(used.size).toBe(65_534)
    expect(used.has(0)).toBe(false)
  })

  it('goes through the QoS 2 handshake once, whatever is repeated', () => {
    const window = new Window(1)
    const id = open(window, 2)
    expect(window.puback(id)).toBe(undefined)
    expect(window.pubcomp(id)).toBe(undefined)
    expect(window.pubrec(id)).toBe(true)
    expect(window.pubrec(id)).toBe(true)
    expect(window.pubrecRefused(id)).toBe(undefined)
    expect(window.pubcomp(id)).toMatchObject({ packetId: id })
    expect(window.pubcomp(id)).toBe(undefined)
    expect(window.pubrec(id)).toBe(false)
  })

  it('ends the handshake at a PUBREC that refuses', () => {
    const window = new Window(1)
    expect(window.pubrecRefused(open(window, 2))).toBeDefined()
    expect(window.count).toBe(0)
  })

  it('W3: is resuming until all that was in flight is sent again, and counts only that', () => {
    const window = new Window(4)
    for (const position of [5, 6, 7]) open(window, 1, position)
    window.suspend()
    window.resume(2)
    expect(window.isResuming).toBe(true)
    const [first, second, third] = [...window.entries()]
    window.resent(first as never)
    window.resent(second as never)
    expect(window.hasRoom).toBe(false)
    window.puback(1)
    expect(window.hasRoom).toBe(true)
    window.resent(third as never)
    expect(window.isResuming).toBe(false)
    expect(ids(window)).toEqual([2, 3])
  })

  it('is not confused by an ack for what was not sent again yet', () => {
    const window = new Window(2)
    open(window, 1)
    window.suspend()
    window.resume(2)
    expect(window.puback(1)).toBeDefined()
    expect(window.isResuming).toBe(false)
    expect(window.count).toBe(0)
  })

  it('gives up what belongs to others, but not the identifiers that a client may remember', () => {
    const window = new Window(8)
    const settled = () => undefined
    const shared = window.open(1, 'events', asPosition(1), false, settled)
    const begun = window.open(2, 'events', asPosition(2), false, settled)
    const released = window.open(2, 'events', asPosition(3), false, settled)
    window.pubrec(released)
    const unlogged = window.open(1, '', asPosition(0))
    const own = open(window, 1, 4)
    window.suspend()
    expect(ids(window)).toEqual([begun, released, own])
    expect(ids(window)).not.toContain(shared)
    expect(ids(window)).not.toContain(unlogged)
    expect(window.count).toBe(2)
    window.resume(8)
    expect(window.pubrec(begun)).toBe(true)
    expect(window.pubcomp(begun)).toBeDefined()
    expect(window.count).toBe(2)
  })
})
