import { expect, test } from 'vitest'
import { gatewayIdOf, nameFault } from '../../src/config/names.ts'

test('a name has letters, digits, "-", "_" and "."', () => {
  for (const name of ['a', 'Alarms-2_x.y', '0', 'x'.repeat(64), 'constructor', '__proto__']) {
    expect(nameFault(name), name).toBeUndefined()
  }
})

test('a name cannot leave its folder, hide, or be too long for one', () => {
  const names = [
    '',
    '.',
    '..',
    '.x',
    '../x',
    'a/b',
    'a\\b',
    'a b',
    'ä',
    'a\n',
    'a\u0000',
    'x'.repeat(65),
  ]
  for (const name of names) expect(nameFault(name), JSON.stringify(name)).toBeDefined()
})

test('every host name gives a gateway id', () => {
  expect(gatewayIdOf('gw-1.site')).toBe('gw-1.site')
  for (const hostName of ['', '.', 'bücher höhe', 'a/+/#', 'x'.repeat(300)]) {
    expect(nameFault(gatewayIdOf(hostName)), hostName).toBeUndefined()
  }
})
