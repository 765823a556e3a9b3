import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { type AccessSettings, hashPassword, writePassword } from '../../src/access/access.ts'
import { Owners } from '../../src/mqtt/owners.ts'
import type { ConnectOptions } from '../support/raw-client.ts'
import { tempDir } from '../support/temp-dir.ts'
import { DAY_S, present, Site } from './sessions/given.ts'

const rules: AccessSettings['rules'] = [
  { user: '*', allow: ['publish', 'subscribe'], topics: ['all/#'] },
]

async function given(more: Partial<AccessSettings> = {}) {
  const file = path.join(tempDir(), 'passwords')
  writeFileSync(file, '', { mode: 0o600 })
  for (const user of ['ada', 'eve']) {
    writePassword(file, user, await hashPassword(Buffer.from(user), 10))
  }
  const settings: AccessSettings = { anonymous: false, passwordFile: file, rules, ...more }
  const site = await new Site().start()
  site.access.replace(settings)
  return { site, file, settings }
}

const as = (user: string | undefined, more: ConnectOptions = {}): ConnectOptions => ({
  clientId: 'd1',
  ...(user === undefined ? {} : { username: user, password: user }),
  ...more,
})

const kept = (user: string | undefined, clean = false): ConnectOptions =>
  as(user, { version: 5, clean, properties: { sessionExpiryInterval: DAY_S } })

async function code(site: Site, options: ConnectOptions): Promise<number> {
  const [connack] = (await site.connect(options)).of('connack')
  return connack?.reasonCode ?? connack?.returnCode ?? -1
}

describe('O1: another user of the same client id', () => {
  it('is refused while the first is connected, and the first stays', async () => {
    const { site } = await given()
    const ada = await site.connect(as('ada'))
    expect(await code(site, as('eve', { version: 4 }))).toBe(2)
    expect(await code(site, as('eve', { version: 5 }))).toBe(0x85)
    ada.send({ cmd: 'pingreq' })
    await ada.packet('pingresp')
    expect(site.run.mqtt.stats.denied['client-id']).toBe(2)
    await site.leave(ada)
    expect(await code(site, as('eve', { version: 5 }))).toBe(0)
  })

  it.each([true, false])('neither gets nor ends its session (clean start: %s)', async (clean) => {
    const { site } = await given()
    const ada = await site.connect(kept('ada'))
    await ada.subscribe('all/#', 1)
    await site.leave(ada)
    const publisher = await site.connect(as('eve', { clientId: 'p' }))
    publisher.publish('all/x', 'for ada', { qos: 1, messageId: 1 })
    await publisher.packet('puback')
    expect(await code(site, kept('eve', clean))).toBe(0x85)
    expect(await code(site, as('eve', { version: 4, clean }))).toBe(2)
    await site.restart()
    expect(await code(site, kept('eve', clean))).toBe(0x85)
    const again = await site.connect(kept('ada'))
    expect(present(again)).toBe(true)
    expect((await again.packet('publish')).payload.toString()).toBe('for ada')
  })

  it('the same user takes over, and may come from anonymous', async () => {
    const { site, settings } = await given({ anonymous: true })
    const unknown = await site.connect(kept(undefined))
    await unknown.subscribe('all/#', 1)
    const ada = await site.connect(kept('ada'))
    await unknown.closing()
    expect(present(ada)).toBe(true)
    expect(await code(site, kept(undefined))).toBe(0x85)
    const again = await site.connect(kept('ada'))
    await ada.closing()
    expect(present(again)).toBe(true)
    expect(settings.anonymous).toBe(true)
  })

  it('O3: may go on where the first is no user any more', async () => {
    const { site, file, settings } = await given()
    await site.leave(await site.connect(kept('ada')))
    expect(await code(site, kept('eve'))).toBe(0x85)
    writePassword(file, 'ada', undefined)
    site.access.replace(settings)
    const eve = await site.connect(kept('eve'))
    expect(present(eve)).toBe(true)
    await site.leave(eve)
    writePassword(file, 'ada', await hashPassword(Buffer.from('ada'), 10))
    site.access.replace(settings)
    expect(await code(site, kept('ada'))).toBe(0x85)
  })
})

it('who took an id while it was nobody’s loses it to a user that came since', () => {
  const owners = new Owners<string>({ sessionOwner: () => undefined, isUser: () => true })
  expect(owners.take('d', undefined, 'first')).toBe(true)
  expect(owners.take('d', 'ada', 'second')).toBe(true)
  expect(owners.isStill('d', undefined)).toBe(false)
  expect(owners.isStill('d', 'ada')).toBe(true)
  owners.release('d', 'first')
  owners.release('d', 'first')
  expect(owners.take('d', 'eve', 'third')).toBe(false)
  owners.release('d', 'second')
  expect(owners.take('d', 'eve', 'third')).toBe(true)
})
