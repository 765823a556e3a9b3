import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../src/base/errors.ts'
import { sinkTo } from '../../src/cli/data-sink.ts'
import { describeTrouble } from '../../src/cli/program.ts'
import { runCli } from '../support/cli-context.ts'
import { tempDir } from '../support/temp-dir.ts'

describe('the command line', () => {
  it('shows its commands when it is given none', async () => {
    const { code, out, err } = await runCli([])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const command of ['serve', 'check', 'streams', 'tail']) expect(out).toContain(command)
  })

  it('says its version', async () => {
    expect(await runCli(['--version'])).toEqual({ code: 0, out: '1.2.3\n', err: '' })
  })

  it.each(['serve', 'check', 'streams', 'tail'])('helps with %s', async (command) => {
    const { code, out, err } = await runCli([command, '--help'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain('--config <file>')
  })

  it.each([
    [['sevre'], /unknown command 'sevre'\n.*Did you mean serve/s],
    [['serve', '--dta', 'x'], /unknown option '--dta'\n.*Did you mean --data/s],
    [['tail'], /missing required argument 'stream'/],
    [['tail', 'a', 'b'], /too many arguments/],
    [['check'], /required option.*--config/],
  ])('refuses %j with a sentence and exit code 1', async (args, sentence) => {
    const { code, out, err } = await runCli(args)
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(sentence)
  })

  it.each(['serve', 'streams'])('%s shows every fault of a configuration', async (command) => {
    const file = path.join(tempDir(), 'sluice.toml')
    writeFileSync(file, '[gateway]\ndata_dirr = "x"\n[mqtt]\nmax_connections = "many"\n')
    const { code, out, err } = await runCli([command, '--config', file])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain('data_dirr')
    expect(err).toContain('mqtt.max_connections')
  })

  it('does not start with a password file that is not there', async () => {
    const file = path.join(tempDir(), 'sluice.toml')
    writeFileSync(file, '[access]\npassword_file = "no-such-file"\n')
    const { code, err } = await runCli(['serve', '--config', file])
    expect(code).toBe(1)
    expect(err).toMatch(/no-such-file cannot be read: there is no such file\nCorrect the file/)
  })

  it('says why only where the sentence does not', () => {
    const cause = new Error('ENOSPC: no space left')
    expect(describeTrouble(new SluiceError('storage', 'x cannot be written', { cause }))).toMatch(
      /^sluice: x cannot be written: ENOSPC: no space left\nLook at the disk/,
    )
    const locked = new SluiceError('data-dir-locked', 'another gateway', { cause })
    expect(describeTrouble(locked)).toMatch(/^sluice: another gateway\nStop the other/)
  })
})

describe('the data sink', () => {
  it('waits until a slow reader has taken what was written', async () => {
    const pipe = new PassThrough({ highWaterMark: 4 })
    const sink = sinkTo(pipe)
    let isWritten = false
    const second = sink.write('12345678').then(() => sink.write('more'))
    void second.then(() => {
      isWritten = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(isWritten).toBe(false)
    pipe.resume()
    expect(await second).toBe(true)
  })

  it('says that the reader has gone, also before the next write', async () => {
    const failing = failingStream('EPIPE')
    const sink = sinkTo(failing)
    expect(await sink.write('x')).toBe(false)
    expect(await sink.write('y')).toBe(false)
  })

  it('fails when the output cannot be written', async () => {
    await expect(sinkTo(failingStream('ENOSPC')).write('x')).rejects.toMatchObject({
      code: 'storage',
      message: 'the output cannot be written',
    })
  })
})

function failingStream(code: string): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })),
  })
}
