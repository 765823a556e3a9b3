/**
 * The process that is recorded: opens the log, appends at random, and marks each record that was
 * told 'kept' once it was told.
 *
 *   child.ts <data dir> <marks> <seed> <first id> <records> <end: close | die>
 */
import fs from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../../src/base/clock.ts'
import { SeededRandom } from '../../../src/base/random.ts'
import type { EventLog } from '../../../src/log/log.ts'
import { openLog } from '../../../src/log/open.ts'
import { BOUNDS, Load, propertiesOf, STREAMS } from './load.ts'

const BURST_RECORDS_MAX = 40
/** Records that wait, at most: like a publisher's window, it lets acknowledgements come in between. */
const WINDOW_RECORDS = 80

const [dataDir = '', marks = '', seedText, firstText, countText, end] = process.argv.slice(2)
const random = new SeededRandom(Number(seedText) + Number(firstText))
const load = new Load(Number(seedText))
const descriptor = fs.openSync(marks, 'a')

function mark(line: string): void {
  fs.writeSync(descriptor, `${line}\n`)
}

const log = await openLog({ dataDir, streams: STREAMS, clock: systemClock, ...BOUNDS })
mark(`boot ${log.boot}`)
let id = Number(firstText)
const endId = id + Number(countText)
let waiting = 0
while (id < endId) {
  const burst = random.below(BURST_RECORDS_MAX)
  for (let i = 0; i < burst && id < endId; i++) append(log, id++)
  if (random.oneIn(3)) log.flush()
  const goOnAt = random.below(WINDOW_RECORDS)
  do await turn()
  while (waiting > goOnAt)
}
if (end === 'die') mark('die')
await log.close()

function append(to: EventLog, number: number): void {
  const { name } = random.pick(STREAMS)
  const properties = propertiesOf(number)
  const bytes = Buffer.concat([properties, load.payload(number)])
  waiting++
  to.append({
    route: to.route(`${name}/${random.below(6)}`),
    client: to.client(`device-${random.below(5)}`),
    qos: 1,
    retain: false,
    key: undefined,
    bytes,
    propertiesAt: 0,
    propertiesEnd: properties.length,
    payloadAt: properties.length,
    payloadEnd: bytes.length,
    waiter: {
      settled: (outcome, record) => {
        waiting--
        if (outcome !== 'kept') throw new Error(`record ${number} of ${name} was ${outcome}`)
        mark(`acked ${name} ${record.position} ${number}`)
      },
    },
  })
}
