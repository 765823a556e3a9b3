import { isIPv4, isIPv6 } from 'node:net'

/** Where something listens. */
export interface Address {
  /** A name, an IPv4 address, or an IPv6 address without its brackets, in canonical form. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
}

/** "127.0.0.1:1883", "localhost:1883", "[::1]:1883"; undefined for anything else. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([^[\]]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const host = match[1] === undefined ? plainHost(match[2] ?? '') : ipv6Host(match[1])
  const port = Number(match[3])
  return host === undefined || port > 65_535 ? undefined : { host, port }
}

/** The address as it is written, IPv6 in brackets. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * Whether only this machine can reach it. An IPv4 loopback address in IPv6 clothes
 * (`::ffff:127.0.0.1`) counts as beyond: the mistake is on the safe side.
 */
export function isLoopback({ host }: Address): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

/** Whether the second of two would find its port taken. `[::]` takes the IPv4 port as well. */
export function overlaps(one: Address, other: Address): boolean {
  if (one.port === 0 || one.port !== other.port) return false
  return one.host === other.host || covers(one.host, other.host) || covers(other.host, one.host)
}

function covers(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host))
}

function plainHost(text: string): string | undefined {
  const host = text.toLowerCase()
  if (/^[\d.]+$/.test(host)) return isIPv4(host) ? host : undefined
  return /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(host) && host.length <= 253 ? host : undefined
}

function ipv6Host(text: string): string | undefined {
  if (!isIPv6(text)) return undefined
  // The URL parser shortens "0:0:0:0:0:0:0:1" to "::1" but takes no zone ("fe80::1%eth0").
  if (text.includes('%')) return text.toLowerCase()
  return new URL(`http://[${text}]`).hostname.slice(1, -1)
}
