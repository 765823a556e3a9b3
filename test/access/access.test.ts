import {
  chmodSync,
  chownSync,
  lstatSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Access, type AccessSettings, hashPassword, type Login } from '../../src/access/access.ts'
import { readPasswords, userFault, writePassword } from '../../src/access/password-file.ts'
import { parseHash, verifyPassword } from '../../src/access/password-hash.ts'
import { readToken, Token } from '../../src/access/token.ts'
import { ManualClock } from '../../src/base/clock.ts'
import { collectingLogger } from '../support/logger.ts'
import { tempDir } from '../support/temp-dir.ts'

/** The cheapest: what it costs is not what is tested. */
const COST = 10
/** As CONNECT cannot carry it, but other callers could. */
const LONG = 'x'.repeat(1024 * 1024)
const bytes = (text: string) => Buffer.from(text)

async function given(users: Record<string, string> = {}, settings: Partial<AccessSettings> = {}) {
  const file = path.join(tempDir(), 'passwords')
  const lines = Object.entries(users).map(
    async ([user, password]) => `${user}:${await hashPassword(bytes(password), COST)}\n`,
  )
  writeFileSync(file, (await Promise.all(lines)).join(''), { mode: 0o600 })
  const clock = new ManualClock(0)
  const logger = collectingLogger()
  const all: AccessSettings = { anonymous: false, passwordFile: file, rules: [], ...settings }
  const access = new Access(all, { clock, logger })
  const login = async (user?: string, password?: string, more: Partial<Login> = {}) =>
    access.login({
      clientId: 'c',
      user,
      password: password === undefined ? undefined : bytes(password),
      certificateUser: undefined,
      address: '10.0.0.1',
      ...more,
    })
  const said = async (...args: Parameters<typeof login>) => {
    const outcome = await login(...args)
    return outcome.kind === 'granted' ? `is ${outcome.identity.user}` : outcome.refusal
  }
  return { access, file, clock, logger, login, said, settings: all }
}

describe('a login', () => {
  it('takes the right password, once verified and once remembered', async () => {
    const { said } = await given({ ada: 'secret' })
    expect(await said('ada', 'secret')).toBe('is ada')
    expect(await said('ada', 'secret')).toBe('is ada')
  })

  it.each([
    ['ada', 'Secret'],
    ['ada', 'secret\0'],
    ['ada', ''],
    ['ada', undefined],
    ['ADA', 'secret'],
    ['', 'secret'],
    ['__proto__', 'secret'],
    ['constructor', ''],
    ['ada', LONG],
    [LONG, 'secret'],
  ])('refuses a wrong name or password (%#)', async (user, password) => {
    const { said } = await given({ ada: 'secret' })
    expect(await said('ada', 'secret')).toBe('is ada')
    expect(await said(user, password)).toBe('bad-credentials')
  })

  it('X1: lets nobody in unknown, unless anonymous is written', async () => {
    expect(await (await given()).said()).toBe('not-authorized')
    const open = await given({ ada: 'secret' }, { anonymous: true })
    expect(await open.said()).toBe('is undefined')
    expect(await open.said('ada', 'wrong')).toBe('bad-credentials')
  })

  it('a name that nobody can verify is no name', async () => {
    const rules = [{ user: 'admin', allow: ['publish'], topics: ['#'] }] as const
    const clock = new ManualClock(0)
    const settings = { anonymous: true, rules }
    const access = new Access(settings, { clock, logger: collectingLogger() })
    const outcome = await access.login({
      clientId: 'c',
      user: 'admin',
      password: bytes('x'),
      certificateUser: undefined,
      address: '::1',
    })
    expect(outcome).toMatchObject({ kind: 'granted', identity: { user: undefined } })
    if (outcome.kind !== 'granted') return
    expect(access.grants('c', outcome.identity).mayPublish('x')).toBe(false)
  })

  it('a verified certificate is a user without a password', async () => {
    const { said } = await given({ ada: 'secret' })
    expect(await said(undefined, undefined, { certificateUser: 'device-7' })).toBe('is device-7')
    expect(await said('ada', 'wrong', { certificateUser: 'device-7' })).toBe('is device-7')
  })

  it('X3: unknown users are verified as known ones are, with the cost of the file', async () => {
    const { login } = await given({ ada: 'secret' })
    const shares: number[] = []
    for (const user of ['ada', 'nobody']) {
      const begun = process.cpuUsage()
      for (let n = 0; n < 4; n++) await login(user, `wrong ${n}`, { address: `10.1.0.${n}` })
      const { user: spent, system } = process.cpuUsage(begun)
      shares.push(spent + system)
    }
    const [known, unknown] = shares as [number, number]
    expect(unknown / known).toBeGreaterThan(0.3)
    expect(unknown / known).toBeLessThan(3)
  })

  it('refuses when too many wait, and serves those that do', async () => {
    const { said } = await given({ ada: 'secret' })
    const users = Array.from({ length: 2100 }, (_, n) => (n === 1 ? 'ada' : `user ${n}`))
    const all = users.map((user, n) =>
      said(user, 'secret', { address: `10.${n >> 8}.0.${n & 255}` }),
    )
    const outcomes = await Promise.all([...all.slice(-90), all[1]])
    expect(outcomes.slice(0, 90).every((outcome) => outcome === 'busy')).toBe(true)
    expect(outcomes.at(-1)).toBe('is ada')
  }, 30_000)
})

describe('failed logins', () => {
  it('sent all at once are not all verified', async () => {
    const { said } = await given({ ada: 'secret' })
    const all = Array.from({ length: 200 }, () => said('ada', 'wrong'))
    const outcomes = await Promise.all(all)
    const verified = outcomes.filter((outcome) => outcome === 'bad-credentials')
    // Two are verified at once, and each begins before the one before it is counted.
    expect(verified.length).toBeLessThanOrEqual(8)
    expect(outcomes.filter((outcome) => outcome === 'backing-off').length).toBeGreaterThan(190)
  })

  it('of clients that have gone are not verified', async () => {
    const { said } = await given({ ada: 'secret' })
    const waits = { isThere: () => true, address: '10.0.0.2' }
    const gone = { isThere: () => false, address: '10.0.0.3' }
    expect(await said('ada', 'secret', gone)).toBe('busy')
    expect(await said('ada', 'secret', waits)).toBe('is ada')
  })

  it('make the same user at the same address wait, longer each time', async () => {
    const { said, clock, logger } = await given({ ada: 'secret', bob: 'other' })
    for (let n = 0; n < 5; n++) expect(await said('ada', 'wrong')).toBe('bad-credentials')
    expect(await said('ada', 'wrong')).toBe('backing-off')
    const warnings = logger.lines.filter((line) => line.includes('too many failed logins'))
    expect(warnings).toHaveLength(1)
    expect(await said('ada', 'secret')).toBe('backing-off')
    expect(await said('ada', 'secret', { address: '10.0.0.2' })).toBe('is ada')
    expect(await said('bob', 'other')).toBe('is bob')
    clock.advance(1000)
    expect(await said('ada', 'wrong')).toBe('bad-credentials')
    clock.advance(1500)
    expect(await said('ada', 'wrong')).toBe('backing-off')
    clock.advance(500)
    expect(await said('ada', 'wrong')).toBe('bad-credentials')
  })

  it('do not keep out who was right before', async () => {
    const { said } = await given({ ada: 'secret' })
    expect(await said('ada', 'secret')).toBe('is ada')
    for (let n = 0; n < 8; n++) await said('ada', 'wrong')
    expect(await said('ada', 'wrong')).toBe('backing-off')
    expect(await said('ada', 'secret')).toBe('is ada')
  })

  it('of many users from one address make the address wait', async () => {
    const { said } = await given({ ada: 'secret' })
    for (let n = 0; n < 50; n++) await said(`user ${n}`, 'guess')
    expect(await said('ada', 'secret')).toBe('backing-off')
    expect(await said('ada', 'secret', { address: '10.0.0.9' })).toBe('is ada')
  })
})

describe('a reload', () => {
  it('takes new users, and tells whose login is no longer one', async () => {
    const { access, file, login, said, settings } = await given({ ada: 'secret', bob: 'other' })
    const [ada, bob] = [await login('ada', 'secret'), await login('bob', 'other')]
    if (ada.kind !== 'granted' || bob.kind !== 'granted') throw new Error('both may connect')
    writePassword(file, 'ada', undefined)
    writePassword(file, 'eve', await hashPassword(bytes('new'), COST))
    access.replace(settings)
    expect(access.isStillValid(ada.identity)).toBe(false)
    expect(access.isStillValid(bob.identity)).toBe(true)
    expect(await said('ada', 'secret')).toBe('bad-credentials')
    expect(await said('eve', 'new')).toBe('is eve')
    writePassword(file, 'bob', await hashPassword(bytes('changed'), COST))
    access.replace(settings)
    expect(access.isStillValid(bob.identity)).toBe(false)
    expect(await said('bob', 'other')).toBe('bad-credentials')
    expect(await said('bob', 'changed')).toBe('is bob')
  })

  it('X4: a broken file changes nothing', async () => {
    const { access, file, said, settings } = await given({ ada: 'secret' })
    writeFileSync(file, 'ada:plain\n')
    expect(() => access.replace({ ...settings, anonymous: true })).toThrow(
      /line 1: not "user:hash"/,
    )
    expect(await said('ada', 'secret')).toBe('is ada')
    expect(await said()).toBe('not-authorized')
  })
})

describe('the password file', () => {
  it('keeps comments, order and mode, and is private when it is new', async () => {
    const file = path.join(tempDir(), 'passwords')
    const hash = await hashPassword(bytes('x'), COST)
    expect(writePassword(file, 'ada', hash)).toBe(false)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    writeFileSync(file, `# users\nada:${hash}\n\nbob:${hash}\n`)
    chmodSync(file, 0o640)
    const other = await hashPassword(bytes('y'), COST)
    expect(writePassword(file, 'ada', other)).toBe(true)
    expect(readFileSync(file, 'utf8')).toBe(`# users\nada:${other}\n\nbob:${hash}\n`)
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(writePassword(file, 'eve', undefined)).toBe(false)
    expect(writePassword(file, 'ada', undefined)).toBe(true)
    expect([...readPasswords(file).lines.keys()]).toEqual(['bob'])
  })

  it('stays the owner, and the file behind a link', async () => {
    const dir = tempDir()
    const [file, link] = [path.join(dir, 'passwords'), path.join(dir, 'link')]
    const hash = await hashPassword(bytes('x'), COST)
    writePassword(file, 'ada', hash)
    symlinkSync(file, link)
    // Only root can give a file away; for others the owner is the same anyway.
    if (process.getuid?.() === 0) chownSync(file, 65_534, 65_534)
    const { uid, gid } = statSync(file)
    writePassword(link, 'bob', hash)
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(statSync(file)).toMatchObject({ uid, gid })
    expect([...readPasswords(file).lines.keys()]).toEqual(['ada', 'bob'])
  })

  it('is not made of a file that holds something else', async () => {
    const file = path.join(tempDir(), 'sluice.toml')
    const hash = await hashPassword(bytes('x'), COST)
    writeFileSync(file, '[gateway]\nid = "gw"\n')
    expect(() => writePassword(file, 'ada', hash)).toThrow('line 1: not "user:hash"')
    expect(readFileSync(file, 'utf8')).toBe('[gateway]\nid = "gw"\n')
  })

  it('names the line that is wrong, and not what stands there', () => {
    const file = path.join(tempDir(), 'passwords')
    for (const line of ['ada', 'ada:hunter2', ':x', 'ada:$scrypt$ln=30,r=8,p=1$c2FsdA$aGFzaA']) {
      writeFileSync(file, `# one\n${line}\n`)
      expect(() => readPasswords(file)).toThrow(`${file}, line 2: not "user:hash"`)
    }
    expect(() => readPasswords(`${file}-2`)).toThrow('cannot be read: there is no such file')
  })

  it('refuses a user that stands there twice', async () => {
    const file = path.join(tempDir(), 'passwords')
    const hash = await hashPassword(bytes('x'), COST)
    writeFileSync(file, `ada:${hash}\nada:${hash}\n`)
    expect(() => readPasswords(file)).toThrow('line 2: the user stands there twice')
  })

  it('says when everyone can read it', async () => {
    const { access, file, logger, settings } = await given({ ada: 'secret' })
    chmodSync(file, 0o644)
    access.replace(settings)
    expect(logger.lines.join()).toContain('can read the password file')
  })

  it.each(['', '*', '#x', 'a:b', 'a\nb', 'a\u0000', ' a', 'a\t'])('has no user %j', (user) => {
    expect(userFault(user)).toBeDefined()
  })
})

describe('a hash', () => {
  it('is scrypt with its own salt, and says its cost', async () => {
    const [one, other] = [await hashPassword(bytes('x'), 11), await hashPassword(bytes('x'), 11)]
    expect(one).toMatch(/^\$scrypt\$ln=11,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    expect(other).not.toBe(one)
    const hash = parseHash(one)
    if (hash === undefined) throw new Error('a hash reads back')
    expect(await verifyPassword(bytes('x'), hash)).toBe(true)
    expect(await verifyPassword(bytes('y'), hash)).toBe(false)
  })
})

describe('a token file', () => {
  it('is one line, long enough, and never shown', () => {
    const file = path.join(tempDir(), 'token')
    writeFileSync(file, 'a-token-of-enough-length\n')
    expect(readToken(file).isRight('a-token-of-enough-length')).toBe(true)
    expect(readToken(file).isRight('a-token-of-enough-length\n')).toBe(false)
    expect(new Token('x').isRight('')).toBe(false)
    writeFileSync(file, 'short-secret')
    expect(() => readToken(file)).toThrow(/has 12 characters, expected 16/)
    expect(() => readToken(file)).not.toThrow(/short-secret/)
    writeFileSync(file, 'two words are not one token')
    expect(() => readToken(file)).toThrow('an HTTP header cannot carry')
    expect(() => readToken(`${file}-2`)).toThrow('there is no such file')
  })
})
