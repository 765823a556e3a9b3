import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { runCli } from '../support/cli-context.ts'
import { eventually } from '../support/front-end.ts'
import { MAIN } from '../support/gateway-process.ts'
import { runShell } from '../support/sluice.ts'
import { tempDir } from '../support/temp-dir.ts'

const hasScript = spawnSync('sh', ['-c', 'command -v script']).status === 0
const file = () => path.join(tempDir(), 'passwords')

/** Answers what is asked with the texts, in their order. */
const typed = (...texts: string[]) => ({
  secretsAreTyped: true,
  askSecret: async () => texts.shift(),
})

describe('sluice passwd', () => {
  it('asks twice, and writes a line that says nothing of the password', async () => {
    const passwords = file()
    const args = ['passwd', passwords, 'ada', '--cost', '10']
    const { code, err } = await runCli(args, typed('secret', 'secret'))
    expect({ code, err }).toEqual({
      code: 0,
      err: 'ada was added. A running gateway reads the file at SIGHUP.\n',
    })
    expect(readFileSync(passwords, 'utf8')).toMatch(/^ada:\$scrypt\$ln=10,r=8,p=1\$\S+\n$/)
    expect(readFileSync(passwords, 'utf8')).not.toContain('secret')
    expect((await runCli(args, typed('other', 'other'))).err).toContain('ada has a new password')
  })

  it('changes nothing when the two differ, or none is given', async () => {
    const passwords = file()
    const args = ['passwd', passwords, 'ada', '--cost', '10']
    expect(await runCli(args, typed('secret', 'Secret'))).toMatchObject({
      code: 1,
      err: 'sluice: the two passwords differ, nothing was changed\n',
    })
    expect((await runCli(args, typed(''))).err).toContain('no password was given')
    expect((await runCli(args)).err).toContain('no password was given')
    const long = 'x'.repeat(1024 * 1024)
    expect((await runCli(args, typed(long, long))).err).toContain('longer than 65535 bytes')
    expect(() => readFileSync(passwords)).toThrow('ENOENT')
  })

  it('removes a user', async () => {
    const passwords = file()
    await runCli(['passwd', passwords, 'ada', '--cost', '10'], typed('secret', 'secret'))
    const remove = ['passwd', passwords, 'ada', '--delete']
    expect(await runCli(remove)).toMatchObject({ code: 0 })
    expect(readFileSync(passwords, 'utf8')).toBe('')
    expect(await runCli(remove)).toMatchObject({
      code: 1,
      err: `sluice: there is no user ada in ${passwords}\n`,
    })
  })

  it.each([
    [['a:b'], 'the user name has a ":"'],
    [['*'], 'the user name is "*"'],
    [['ada', '--cost', '9'], '--cost takes a whole number from 10 to 17'],
    [['ada', '--cost', '1e1'], '--cost takes a whole number'],
  ])('refuses %j', async (args, sentence) => {
    const { code, err } = await runCli(['passwd', file(), ...args], typed('x', 'x'))
    expect(code).toBe(1)
    expect(err).toContain(sentence)
  })

  it('takes a line of a pipe, once and without its end', async () => {
    const passwords = file()
    const line = `printf 'secret\\r\\nnext\\n' | $SLUICE passwd ${passwords} ada --cost 10`
    expect(await runShell(line)).toMatchObject({ code: 0, stdout: '' })
    const { parseHash, verifyPassword } = await import('../../src/access/password-hash.ts')
    const hash = parseHash(readFileSync(passwords, 'utf8').trim().slice('ada:'.length))
    if (hash === undefined) throw new Error('a hash stands there')
    expect(await verifyPassword(Buffer.from('secret'), hash)).toBe(true)
    expect(await runShell(`$SLUICE passwd ${passwords} ada < /dev/null`)).toMatchObject({ code: 1 })
  })

  // Skipped where it is missing: apt install bsdutils
  it.skipIf(!hasScript)('shows nothing of what is typed on a terminal', async () => {
    const command = `'${process.execPath}' '${MAIN}' passwd ${file()} ada --cost 10`
    const terminal = spawn('script', ['-qec', command, '/dev/null'])
    let shown = ''
    terminal.stdout.on('data', (chunk) => {
      shown += chunk
    })
    const closed = once(terminal, 'close')
    await eventually(() => shown.includes('Password: '), 'the question')
    terminal.stdin.write('se\x7fecret\r')
    await eventually(() => shown.includes('The same again: '), 'the second question')
    terminal.stdin.write('secret\r')
    expect(await closed).toEqual([0, null])
    expect(shown).toContain('ada was added')
    expect(shown).not.toContain('ecret')
  })
})
