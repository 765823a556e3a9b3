/** The places of src/base/fail-point.ts, and a gateway that dies at one of them. */
import { fileURLToPath } from 'node:url'

/** Passed by a gateway under load: while segments fill, are sealed and removed. */
export const GATEWAY_POINTS = [
  'roll:before-rename',
  'roll:renamed',
  'roll:before-first-commit',
  'prepare:before-rename',
  'checkpoint:before',
  'checkpoint:between-passes',
  'seal:before-end',
  'seal:end-written',
  'seal:before-mode-switch',
  'seal:mode-switched',
  'retention:gap-written',
  'retention:cursors-moved',
  'remove:before-unlink',
  'remove:unlinked',
  'state:before-commit',
  'state:committed',
] as const

/** Passed by `sluice backup`. */
export const BACKUP_POINTS = [
  'backup:segment-taken',
  'backup:before-manifest',
  'backup:manifest-written',
] as const

export const PRELOAD = fileURLToPath(new URL('./fail-point-preload.mjs', import.meta.url))

/** What Node and the environment need for a process that dies when it passes the point. */
export function dyingAt(
  point: string,
  pass = 1,
): { readonly nodeArgs: readonly string[]; readonly env: Readonly<Record<string, string>> } {
  return { nodeArgs: ['--import', PRELOAD], env: { SLUICE_FAIL_POINT: `${point}:${pass}` } }
}
