/** Metrics that read their values when they are scraped. */
import { Counter, Gauge, type MetricRegistry } from './prometheus.ts'

export type Labels = Readonly<Record<string, string | number>>
export type Sample = readonly [labels: Labels, value: number]
export type Samples = readonly Sample[]

export type ReadSamples = () => Samples | Promise<Samples>

/** A counter, kept by somebody else as a number that only rises. */
export function readCounter(
  registry: MetricRegistry,
  name: string,
  help: string,
  samples: ReadSamples,
  labelNames: readonly string[] = [],
): void {
  new Counter<string>({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const read = await samples()
      this.reset()
      for (const [labels, value] of read) this.inc(labels, value)
    },
  })
}

/** A number that rises and falls. */
export function readGauge(
  registry: MetricRegistry,
  name: string,
  help: string,
  samples: ReadSamples,
  labelNames: readonly string[] = [],
): void {
  new Gauge<string>({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const read = await samples()
      this.reset()
      for (const [labels, value] of read) this.set(labels, value)
    },
  })
}

/** One sample without labels. */
export function single(value: number): Samples {
  return [[{}, value]]
}

/** One sample for each key of `counts`. */
export function byLabel(label: string, counts: Readonly<Record<string, number>>): Samples {
  return Object.entries(counts).map(([key, value]) => [{ [label]: key }, value])
}
