/**
 * Makes `data/greenhouse.csv`, the recording the demo replays: four nodes in a greenhouse on a
 * spring morning, an hour long, a reading of each node about every half minute. Nothing in it was
 * measured. The format is that of `csv.ts`.
 *
 *   npx tsx firmware-sim/make-greenhouse.ts > firmware-sim/data/greenhouse.csv
 */
import { pathToFileURL } from 'node:url'
import { chance } from './random.ts'

const seed = 20_250_512
const startMs = Date.UTC(2025, 4, 12, 6, 0, 0)
const nodes = 4
const rounds = 120
const roundMs = 30_000

/** The gardener's visits, in minutes from the start: the door moves at both ends. */
const visits = [
  { from: 8, to: 19, activity: 4 },
  { from: 33, to: 36, activity: 3 },
  { from: 50, to: 58, activity: 2 },
] as const
/** The roof window opens above the first temperature (°C) and closes below the second. */
const windowOpensAt = 24
const windowClosesAt = 22.5

/** The whole file. The same at each call. */
export function makeGreenhouse(): string {
  const lines: string[] = []
  let windowOpen = false
  let roof = 16.5
  for (let round = 0; round < rounds; round += 1) {
    const minutes = (round * roundMs) / 60_000
    // The sun warms the roof space towards 29 °C, the open window cools it towards 17 °C.
    roof += (windowOpen ? 17 - roof : 29 - roof) * 0.022
    if (roof > windowOpensAt) windowOpen = true
    if (roof < windowClosesAt) windowOpen = false
    for (let node = 1; node <= nodes; node += 1) {
      const late = chance(seed, node, round, 1) * 4_000
      const afterMs = Math.round(round * roundMs + (node - 1) * 7_000 + late)
      const climate = climateOf(node, round, roof, minutes)
      lines.push(
        [
          lines.length + 1,
          startMs + afterMs,
          Math.floor(afterMs / 1000) + 1,
          ...climate,
          windowOpen ? 1 : 0,
        ].join(', '),
      )
    }
  }
  return `${lines.join('\n')}\n`
}

/** From the node id to the door: what one node sees in one round. */
function climateOf(node: number, round: number, roof: number, minutes: number): string[] {
  const noise = (what: number): number => chance(seed, node, round, what) - 0.5
  const visit = visits.find(({ from, to }) => minutes >= from && minutes < to)
  const moving = visits.some(({ from, to }) => minutes === from || minutes === to)
  // Node 1 hangs by the door, node 4 under the roof: the warmer, the higher.
  const temperature = 15 + (roof - 15) * (0.7 + 0.1 * node) + noise(2) * 0.15
  const humidity = 92 - (temperature - 15) * 2.2 + noise(3) * 0.8
  const sun = 180 + minutes * 9 + noise(4) * 25
  return [
    String(node),
    temperature.toFixed(2),
    humidity.toFixed(3),
    sun.toFixed(2),
    (sun * 2.7 + noise(5) * 30).toFixed(1),
    visit ? '1' : '0',
    String(visit?.activity ?? 0),
    moving ? '1' : '0',
  ]
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.stdout.write(makeGreenhouse())
}
