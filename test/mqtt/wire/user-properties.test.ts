import { describe, expect, it } from 'vitest'
import { userPropertiesOf } from '../../../src/consumers/user-properties.ts'
import { encodeUserProperties, userPropertiesNow } from '../../../src/mqtt/wire/user-properties.ts'

const pairs = [
  ['stream', 'telemetry'],
  ['größe', 'ein Maß'],
  ['', ''],
] as const

describe('user properties', () => {
  it('are encoded in their order, also those that are not ASCII', () => {
    expect(userPropertiesOf(encodeUserProperties(pairs))).toEqual(pairs)
    expect(userPropertiesOf(userPropertiesNow(pairs))).toEqual(pairs)
  })

  it('may be longer than what is kept for one message', () => {
    const long = [['name', 'ü'.repeat(5000)]] as const
    expect(userPropertiesOf(userPropertiesNow(long))).toEqual(long)
  })
})
