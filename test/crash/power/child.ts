/**
 * The process that is recorded: opens the log, appends at random, and marks each record that was
 * told 'kept' once it was told; meanwhile old segments go and cursors move (upkeep.ts).
 *
 *   child.ts <data dir> <marks> <seed> <first id> <records> <end: close | die | copy>
 */
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import { systemClock } from '../../../src/base/clock.ts'
import { SeededRandom } from '../../../src/base/random.ts'
import type { EventLog } from '../../../src/log/log.ts'
import { openLog } from '../../../src/log/open.ts'
import { BOUNDS, Load, propertiesOf, STREAMS } from './load.ts'
import { copyOff, STREAM, Upkeep } from './upkeep.ts'

const BURST_RECORDS_MAX = 30
/** Records that wait, at most: like a publisher's window, it lets answers come in between. */
const WINDOW_RECORDS = 80
/** Three of four runs let the keeper start and keep up; without that it works only at the end. */
const PAUSE_MS = 50
const KEEPER_WAIT_MS = 5000
/** By then a segment is half full somewhere, and the keeper is asked for the next one. */
const RECORDS_BEFORE_WAIT = 150

const [dataDir = '', marks = '', seedText, firstText, countText, end] = process.argv.slice(2)
const random = new SeededRandom(Number(seedText) + Number(firstText))
const load = new Load(Number(seedText))
const descriptor = fs.openSync(marks, 'a')

function keeperHasWorked(): boolean {
  return STREAMS.some(({ name }) => fs.existsSync(path.join(dataDir, 'streams', name, 'next.db')))
}

function mark(line: string): void {
  fs.writeSync(descriptor, `${line}\n`)
}

const log = await openLog({ dataDir, streams: STREAMS, clock: systemClock, ...BOUNDS })
mark(`boot ${log.boot}`)
const upkeep = await Upkeep.begin(log, dataDir, mark)
/** Of the stream that the cursors are on. */
let keptEnd = 0
let id = Number(firstText)
const endId = id + Number(countText)
let waiting = 0
let keeperWaits = random.oneIn(4) ? 0 : KEEPER_WAIT_MS
const paced = keeperWaits > 0
while (id < endId) {
  const burst = random.below(BURST_RECORDS_MAX)
  for (let i = 0; i < burst && id < endId; i++) append(log, id++)
  if (random.oneIn(3)) log.flush()
  const goOnAt = random.below(WINDOW_RECORDS)
  do await turn()
  while (waiting > goOnAt)
  if (paced && random.oneIn(3)) await pause(random.below(PAUSE_MS))
  if (random.oneIn(3)) await upkeep.commit(keptEnd)
  if (random.oneIn(3)) await upkeep.retain()
  if (id - Number(firstText) > RECORDS_BEFORE_WAIT) {
    for (; keeperWaits > 0 && !keeperHasWorked(); keeperWaits--) await pause(1)
    keeperWaits = 0
  }
}
// The last seals take some time, and what is not sealed cannot go.
if (paced) await pause(PAUSE_MS)
await upkeep.retain()
if (end === 'die') mark('die')
await upkeep.end()
await log.close()
if (end === 'copy') await copyOff(dataDir, mark)

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
        if (name === STREAM) keptEnd = record.position + 1
      },
    },
  })
}
