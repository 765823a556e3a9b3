/** The words around the table: on what, with which settings, and what it does not say. */
import { mosquittoSettings } from './brokers.ts'
import { isMemory } from './machine.ts'
import type { BenchResults } from './results.ts'

const NOT_MEASURED = [
  'an SD card, eMMC or any device but the one above, and what wears inside it',
  'ARM, and a machine with less memory or slower cores',
  'a network: everything runs over loopback, and the load generator shares the cores',
  'TLS, WebSocket, passwords and access rules',
  'a power cut, and whether the device keeps what it reported as flushed',
  "the file system's own journal, which the kernel charges to nobody",
  'QoS 2, MQTT 5 and retained messages; sessions that were away; retention at work',
  'a gateway in its first seconds, before its code is compiled, and hours of load',
  'Mosquitto with persistence (but for flash): it keeps nothing here, the gateway everything',
] as const

const CASE_NOTES = [
  'Medians over the rounds. The ratio is the median of those of each round, with the smallest',
  'and the largest. More is better for messages/s and share, less for all other units.',
] as const

const FLASH_NOTES = [
  'flash: one reading each. bytes/byte and MB/day are from write_bytes of the broker process: each',
  'page of 4 KiB it dirtied, again after every write back, even if its file went before the next.',
  'The checkpoint or save of its end is in them, what it writes once at its start is not, nor the',
  'journal of the file system and what the device erases and moves. The whole disk is from',
  '/sys/dev/block: the journal too, and all else the machine wrote meanwhile; an upper bound where',
  'it is quiet. Mosquitto saved every 1800 s loses that much with the power, and has the figure',
  'shown if its queue is emptied between saves. Saved on every change it writes its whole queue',
  'each time, so that its figure grows with the queue: here it begins empty.',
] as const

/** What is known before the first reading. */
export function head(results: BenchResults): string {
  const { machine, settings, mosquitto } = results
  const lines = [
    `machine    ${machine.cpu}, ${machine.cores} cores, ${machine.memoryMiB} MiB`,
    `           ${machine.kernel}, Node ${machine.node}, data on ${machine.fileSystem}`,
    'Sluice     defaults: one stream, an fsync before every PUBACK; log level warn',
    mosquitto === null
      ? 'Mosquitto  not found: install it to compare (Debian: apt install mosquitto)'
      : `Mosquitto  ${mosquitto}; ${mosquittoSettings.join(', ')}; otherwise defaults`,
    `settings   ${settings.rounds} rounds in alternation${settings.quick ? ', quick: counts / 10' : ''}`,
    '           each case on newly started brokers, warmed by one reading that is thrown away',
    'load       test/bench/load.c, MQTT 3.1.1, one thread on the same cores',
  ]
  if (isMemory(machine)) {
    lines.push('WARNING    the data is in memory, so an fsync costs nothing: set TMPDIR to a disk')
  }
  return lines.join('\n')
}

/** What belongs under the table. */
export function foot(results: BenchResults): string {
  const lines: string[] = results.cases.length > 0 ? ['', ...CASE_NOTES] : []
  if (results.flash.length > 0) lines.push('', ...FLASH_NOTES)
  if (results.remarks.length > 0) lines.push('', 'Remarks', ...bullets(results.remarks))
  lines.push('', 'NOT measured', ...bullets(NOT_MEASURED))
  return lines.join('\n')
}

function bullets(sentences: readonly string[]): string[] {
  return sentences.map((sentence) => `  - ${sentence}`)
}
