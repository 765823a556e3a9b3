/** Certificates of a listener: read, checked, and what a client's certificate says of its user. */
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import type { ListenerTls } from './mqtt.ts'

/** Handshakes beyond this take a processor that other clients need. */
export const HANDSHAKE_TIMEOUT_MS = 10_000

export interface TlsMaterial {
  readonly context: { readonly cert: Buffer; readonly key: Buffer; readonly ca?: Buffer }
  /** Of the listener's own certificate, for whoever watches over it. */
  readonly validTo: string
}

/** Reads and checks the files; throws `tls-invalid` with what is wrong with which. */
export function readTls({ certFile, keyFile, clientCaFile }: ListenerTls): TlsMaterial {
  const cert = read('certificate', certFile)
  const key = read('key', keyFile)
  const validTo = certificateOf(cert, certFile).validTo
  const ca = clientCaFile === undefined ? undefined : read('client authority', clientCaFile)
  if (ca !== undefined) certificateOf(ca, clientCaFile ?? '')
  const context = ca === undefined ? { cert, key } : { cert, key, ca }
  try {
    tls.createSecureContext(context)
  } catch (cause) {
    const why =
      codeOf(cause) === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
        ? 'it is not the key of the certificate'
        : messageOf(cause)
    const message = `the key ${keyFile} cannot be used with the certificate ${certFile}: ${why}`
    throw new SluiceError('tls-invalid', message, { cause })
  }
  return { context, validTo }
}

/** The options of a TLS server. */
export function tlsOptions(settings: ListenerTls, { context }: TlsMaterial): tls.TlsOptions {
  return {
    ...context,
    requestCert: settings.clientCaFile !== undefined,
    rejectUnauthorized: settings.requireClientCert,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
  }
}

/** The user that a verified client certificate names; undefined: none. */
export function certificateUser(
  socket: tls.TLSSocket,
  userFrom: ListenerTls['userFrom'],
): string | undefined {
  if (userFrom === undefined || !socket.authorized) return undefined
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return undefined
  return userFrom === 'cn' ? commonName(certificate.subject) : alternativeName(certificate)
}

/** Of several common names none counts: whoever signed them may have meant any. */
function commonName(subject: string): string | undefined {
  const names = subject.split('\n').filter((line) => line.startsWith('CN='))
  return names.length === 1 ? names[0]?.slice('CN='.length) || undefined : undefined
}

/**
 * The first DNS name, URI or e-mail address. Node quotes names with commas or quotes in them: a
 * certificate with such a name names nobody, because it can be read in two ways.
 */
function alternativeName({ subjectAltName }: X509Certificate): string | undefined {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return undefined
  for (const entry of subjectAltName.split(', ')) {
    const name = /^(?:DNS|URI|email):(.+)$/.exec(entry)?.[1]
    if (name !== undefined) return name
  }
  return undefined
}

function read(what: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: 'there is no such file',
      EACCES: 'this user may not read it',
      EISDIR: 'it is a folder',
    }
    const why = reasons[codeOf(cause) ?? ''] ?? messageOf(cause)
    const message = `the ${what} file ${file} cannot be read: ${why}`
    throw new SluiceError('tls-invalid', message, { cause })
  }
}

function certificateOf(bytes: Buffer, file: string): X509Certificate {
  try {
    return new X509Certificate(bytes)
  } catch (cause) {
    const message = `${file} holds no certificate in PEM form: ${messageOf(cause)}`
    throw new SluiceError('tls-invalid', message, { cause })
  }
}
