/** Longer names would not fit a folder's name together with what Sluice adds to it. */
export const NAME_CHARACTERS_MAX = 64

/**
 * Why `name` cannot name a stream, a queue, a bridge or the gateway; undefined when it can. A name
 * becomes a folder, a topic level and a metric label, so it has only what is harmless in each.
 */
export function nameFault(name: string): string | undefined {
  if (name === '') return 'is empty'
  if (name.length > NAME_CHARACTERS_MAX) return `is longer than ${NAME_CHARACTERS_MAX} characters`
  if (!/^[A-Za-z0-9._-]+$/.test(name)) return 'has a character that a name may not have'
  if (name.startsWith('.')) return 'begins with a "."'
  return undefined
}

/** The machine's name as a gateway id: what a name may not contain becomes "-". */
export function gatewayIdOf(hostName: string): string {
  const id = hostName
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^\.+/, '')
    .slice(0, NAME_CHARACTERS_MAX)
  return id === '' ? 'gateway' : id
}
