/** The file of a run: what `--json` writes and `--baseline` reads. */
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { messageOf } from '../../src/base/errors.ts'

const unit = z.enum(['messages/s', 'ms', 's', 'MiB', 'KiB', 'bytes/byte', 'share'])

const benchResults = z.object({
  format: z.literal(1),
  /** ISO time. */
  began: z.string(),
  machine: z.object({
    cpu: z.string(),
    cores: z.number(),
    memoryMiB: z.number(),
    kernel: z.string(),
    node: z.string(),
    fileSystem: z.string(),
  }),
  settings: z.object({ rounds: z.number(), quick: z.boolean() }),
  mosquitto: z.string().nullable(),
  cases: z.array(
    z.object({
      name: z.string(),
      title: z.string(),
      figures: z
        .array(
          z.object({
            name: z.string(),
            title: z.string(),
            unit,
            sluice: z.array(z.number()).readonly(),
            mosquitto: z.array(z.number()).readonly(),
          }),
        )
        .readonly(),
    }),
  ),
  /** Of the case that is not a comparison round by round; empty where it was not asked for. */
  flash: z
    .array(
      z
        .object({
          variant: z.string(),
          rate: z.number(),
          messages: z.number(),
          payloadBytes: z.number(),
          writtenBytes: z.number(),
          stopBytes: z.number(),
          diskBytes: z.number().nullable(),
        })
        .readonly(),
    )
    .default([]),
  /** What did not go as it should while it was measured. */
  remarks: z.array(z.string()),
})

export type BenchResults = z.infer<typeof benchResults>

export function writeResults(file: string, results: BenchResults): void {
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`)
}

export function readResults(file: string): BenchResults {
  try {
    return benchResults.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (error) {
    const advice = 'Make one with "npm run bench -- --json FILE".'
    const why = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error)
    throw new Error(`${file} is no baseline:\n${why}\n${advice}`, { cause: error })
  }
}

/** Why figures of `now` and `before` may differ for reasons outside the gateway. */
export function differences(now: BenchResults, before: BenchResults): string[] {
  const pairs = [
    ['the machine', now.machine, before.machine],
    ['the counts', now.settings.quick, before.settings.quick],
  ] as const
  return pairs
    .filter(([, a, b]) => JSON.stringify(a) !== JSON.stringify(b))
    .map(([what]) => `${what} of the baseline differed`)
}
