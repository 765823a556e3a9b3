/** Certificates made for one test run, by openssl; short-lived, and worth nothing elsewhere. */
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'

/** Tests that need certificates are skipped without it: apt install openssl. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
}

export interface Authority extends Certificate {
  /** Signs a certificate for "localhost" and 127.0.0.1, or whatever `san` says. */
  sign(name: string, san?: string): Certificate
}

/** A new authority with its files in `folder`. */
export function authority(folder: string, name = 'ca'): Authority {
  const file = (ending: string) => path.join(folder, `${name}.${ending}`)
  const ca = { certFile: file('pem'), keyFile: file('key') }
  openssl(
    'req',
    '-x509',
    ...newKey(ca.keyFile),
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-out',
    ca.certFile,
  )
  const sign = (subject: string, san = 'DNS:localhost,IP:127.0.0.1'): Certificate => {
    const own = (ending: string) =>
      path.join(folder, `${name}-${subject.replaceAll('/', '_')}.${ending}`)
    const signed = { certFile: own('pem'), keyFile: own('key') }
    writeFileSync(own('ext'), `subjectAltName=${san}\n`)
    const request = own('csr')
    openssl(
      'req',
      ...newKey(signed.keyFile),
      '-subj',
      `/CN=${subject.replaceAll('/', '\\/')}`,
      '-out',
      request,
    )
    const from = ['-CA', ca.certFile, '-CAkey', ca.keyFile, '-CAcreateserial', '-days', '2']
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      ...from,
      '-extfile',
      own('ext'),
      '-out',
      signed.certFile,
    )
    return signed
  }
  return { ...ca, sign }
}

function newKey(file: string): readonly string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file]
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}
