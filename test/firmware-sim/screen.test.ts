import { expect, test } from 'vitest'
import { plural, Screen, showMs } from '../../firmware-sim/screen.ts'
import { collected } from './support.ts'

test('on a terminal the live line is rewritten, cut to the width, and gives way to what stays', () => {
  const output = collected(true, 10)
  const screen = new Screen(output)
  screen.live('first line that is long')
  screen.live('second')
  screen.say('news')
  expect(output.text()).toBe('first lin\r\u001b[2Ksecond\r\u001b[2Knews\n')
})

test('elsewhere each status is a line without control characters', () => {
  const output = collected(false, 10)
  const screen = new Screen(output)
  screen.live('a status that is long')
  screen.say('news')
  expect(output.text()).toBe('a status that is long\nnews\n')
  expect(screen.periodMs).toBe(5_000)
})

test('numbers are shown as people write them', () => {
  expect([showMs(undefined), showMs(0.4241), showMs(17.2)]).toEqual(['–', '0.42 ms', '17 ms'])
  expect([plural(1, 'error'), plural(0, 'error')]).toEqual(['1 error', '0 errors'])
})
