/**
 * Ends the process when an invariant does not hold: the text is for whoever reads the crash.
 * On in production, because the gateway restarts from a durable log within a second, while a
 * wrong offset stays for ever. Never for troubles (a full disk, a lost peer): those are values.
 */
export function assert(holds: boolean, invariant: string): asserts holds {
  if (!holds) throw new AssertionFailure(invariant)
}

/** A bug in Sluice itself. Nothing catches it on purpose. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
}

/** The value, which the caller knows is there; a bug if it is not. */
export function present<T>(value: T | undefined | null, what: string): T {
  assert(value !== undefined && value !== null, `${what} is missing`)
  return value
}
