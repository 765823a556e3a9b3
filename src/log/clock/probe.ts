/**
 * How far the machine's wall clock can be trusted, from what can be read of it in files.
 *
 * The kernel's own word (adjtimex, STA_UNSYNC) takes a system call that Node does not offer, so
 * these stand for it:
 *
 *   synchronised   /run/systemd/timesync/synchronized is there: systemd-timesyncd makes it with its
 *                  first answer of this boot of the machine
 *                  or the drift file of chrony or ntpd was written since the machine booted, which
 *                  they do only while they follow a source, within about an hour
 *   rtc            a real-time clock set the wall clock (/sys/class/rtc/<clock>/hctosys is 1) and
 *                  reads a plausible time itself
 *   none           otherwise
 *
 * Not read: how large the error is, PTP, GPS daemons that speak to chrony, and a source that was
 * lost since. In a container the files of /run and /var/lib are the host's only where they are
 * mounted; without them the answer is `rtc` or `none`, and steps are seen all the same.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { codeOf } from '../../base/errors.ts'
import type { ClockQuality } from '../state.ts'
import { isPlausible } from './plausible.ts'

export type ClockProbe = () => ClockQuality

const TIMESYNC = 'run/systemd/timesync/synchronized'
const DRIFT_FILES = [
  'var/lib/chrony/drift',
  'var/lib/chrony/chrony.drift',
  'var/lib/ntp/ntp.drift',
  'var/lib/ntp/drift',
  'var/lib/ntpsec/ntp.drift',
]
const UPTIME = 'proc/uptime'
const RTC = 'sys/class/rtc'

/** A probe of the machine; `root` is where its files are. */
export function clockProbe(clock: Clock, root = '/'): ClockProbe {
  let fromRtc: boolean | undefined
  return () => {
    const nowMs = clock.now()
    if (!isPlausible(nowMs)) return 'none'
    if (modifiedMs(path.join(root, TIMESYNC)) !== undefined) return 'synchronised'
    if (isFollowed(root, nowMs)) return 'synchronised'
    // Once: it does not change, and reading the clock can take its bus a few milliseconds.
    fromRtc ??= wasSetByRtc(root)
    return fromRtc ? 'rtc' : 'none'
  }
}

/** Whether a drift file was written between the machine's boot and now. */
function isFollowed(root: string, nowMs: number): boolean {
  const uptimeS = Number.parseFloat(textOf(path.join(root, UPTIME)))
  if (Number.isNaN(uptimeS)) return false
  const bootedMs = nowMs - uptimeS * 1000
  return DRIFT_FILES.some((file) => {
    const writtenMs = modifiedMs(path.join(root, file))
    return writtenMs !== undefined && writtenMs >= bootedMs && writtenMs <= nowMs
  })
}

function wasSetByRtc(root: string): boolean {
  const folder = path.join(root, RTC)
  return namesIn(folder).some(
    (name) =>
      textOf(path.join(folder, name, 'hctosys')).trim() === '1' &&
      isPlausible(Number(textOf(path.join(folder, name, 'since_epoch'))) * 1000),
  )
}

function modifiedMs(file: string): number | undefined {
  return readable(() => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs, undefined)
}

function textOf(file: string): string {
  return readable(() => fs.readFileSync(file, 'latin1'), '')
}

function namesIn(folder: string): string[] {
  return readable(() => fs.readdirSync(folder), [])
}

/** What is not there, or not for this user, says nothing about the clock. */
function readable<T>(read: () => T, otherwise: T): T {
  try {
    return read()
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    return otherwise
  }
}
