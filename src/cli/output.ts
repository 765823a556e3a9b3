/** Where a command writes. Data and diagnostics part here, so that a pipe carries data alone. */
export interface CliOutput {
  /** What was asked for. */
  out(text: string): void
  /** Everything about it: warnings, faults, progress. */
  err(text: string): void
}
