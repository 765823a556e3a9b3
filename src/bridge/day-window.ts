/**
 * The hours of the day in which a bridge may send, such as the night of a tariff: [from, end), in
 * the time zone of the system, also over midnight. It answers "how long until" as the rate does.
 */
export interface DayWindowParts {
  readonly fromMinute: number
  readonly endMinute: number
  /** Wall time in milliseconds. */
  readonly nowMs: () => number
}

const DAY_MINUTES = 1440
const MINUTE_MS = 60_000

export class DayWindow {
  private readonly parts: DayWindowParts

  constructor(parts: DayWindowParts) {
    this.parts = parts
  }

  /** "22:00-06:00". */
  get text(): string {
    const { fromMinute, endMinute } = this.parts
    return `${minuteText(fromMinute)}-${minuteText(endMinute)}`
  }

  get isOpen(): boolean {
    const { fromMinute, endMinute, nowMs } = this.parts
    const minute = minuteOf(nowMs())
    const isOver = fromMinute > endMinute
    return isOver
      ? minute >= fromMinute || minute < endMinute
      : minute >= fromMinute && minute < endMinute
  }

  /**
   * How long until it may be open, 0 for now; at most a minute, after which it is asked again: a
   * clock that is set, or a summer time that begins, must not keep it shut.
   */
  delayMs(): number {
    if (this.isOpen) return 0
    const { fromMinute, nowMs } = this.parts
    const now = nowMs()
    const minutes = (fromMinute - minuteOf(now) + DAY_MINUTES) % DAY_MINUTES
    return Math.min(MINUTE_MS, minutes * MINUTE_MS - (now % MINUTE_MS)) || 1
  }
}

function minuteOf(wallMs: number): number {
  const time = new Date(wallMs)
  return time.getHours() * 60 + time.getMinutes()
}

function minuteText(minute: number): string {
  const two = (value: number) => String(value).padStart(2, '0')
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
}
