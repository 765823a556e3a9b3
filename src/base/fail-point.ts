/**
 * Named places where a process may die. Crash tests end it exactly there: between a rename and the
 * commit that follows, between two deletions. In production nobody listens, and a place costs the
 * test of one variable; none lies on the way of a single record.
 *
 * A handler belongs to its thread: whoever listens in all of them is loaded into each
 * (`node --import`, which worker threads inherit).
 */
type Handler = (name: string) => void

let handler: Handler | undefined

/** The process passes the place of that name. */
export function failPoint(name: string): void {
  handler?.(name)
}

/** From now on this handler is told of each place that this thread passes. */
export function onFailPoint(told: Handler): void {
  handler = told
}
