/** Who is measured in the case `flash`: each broker at its default and at its other extreme. */
import { type Mosquitto, startMosquitto, startSluice } from './brokers.ts'
import type { FlashVariant } from './flash.ts'

/** Mosquitto's default: everything is in memory for up to half an hour. */
const SAVE_SECONDS = 1800

const stream = (linger: string): string =>
  `[[stream]]\nname = "default"\ntopics = ["#"]\nack_after = "fsync"\nlinger = "${linger}"\n`

export function flashVariants(mosquitto: Mosquitto | undefined): FlashVariant[] {
  const sluice = ['0ms', '1s'].map((linger) => ({
    name: `Sluice, linger ${linger}, fsync before every PUBACK`,
    start: () => startSluice(stream(linger)),
  }))
  if (mosquitto === undefined) return sluice
  const saves = `autosave_interval ${SAVE_SECONDS}`
  return [
    ...sluice,
    {
      name: `Mosquitto, saved every ${SAVE_SECONDS} s, the messages of one interval`,
      saveSeconds: SAVE_SECONDS,
      start: () => startMosquitto(mosquitto, [saves]),
    },
    {
      name: 'Mosquitto, saved on every change, from an empty queue',
      start: () => startMosquitto(mosquitto, ['autosave_interval 1', 'autosave_on_changes true']),
    },
  ]
}
