import { describe, expect, it } from 'vitest'
import { Window } from '../../../src/mqtt/delivery/window.ts'

describe('Window', () => {
  it('W1: has room for as many messages as its size', () => {
    const window = new Window(2)
    window.open(1)
    expect(window.hasRoom).toBe(true)
    const second = window.open(1)
    expect(window.hasRoom).toBe(false)
    expect(() => window.open(1)).toThrow()
    expect(window.puback(second)).toBe(true)
    expect(window.hasRoom).toBe(true)
  })

  it('W2: does not use an identifier again while it is in flight', () => {
    const window = new Window(3)
    const held = window.open(1)
    const used = new Set<number>()
    for (let i = 0; i < 70_000; i++) {
      const id = window.open(1)
      used.add(id)
      window.puback(id)
    }
    expect(used.has(held)).toBe(false)
    expect(used.size).toBe(65_534)
    expect(used.has(0)).toBe(false)
  })

  it('goes through the QoS 2 handshake once, whatever is repeated', () => {
    const window = new Window(1)
    const id = window.open(2)
    expect(window.puback(id)).toBe(false)
    expect(window.pubcomp(id)).toBe(false)
    expect(window.pubrec(id)).toBe(true)
    expect(window.pubrec(id)).toBe(true)
    expect(window.pubrecRefused(id)).toBe(false)
    expect(window.pubcomp(id)).toBe(true)
    expect(window.pubcomp(id)).toBe(false)
    expect(window.pubrec(id)).toBe(false)
  })

  it('ends the handshake at a PUBREC that refuses', () => {
    const window = new Window(1)
    expect(window.pubrecRefused(window.open(2))).toBe(true)
    expect(window.count).toBe(0)
  })
})
