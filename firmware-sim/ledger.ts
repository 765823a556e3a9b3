/**
 * What the fleet knows about its own readings: the one side of the audit.
 *
 * G1. A reading is (device, boot, sequence). Each is in `sent` once it was handed to a socket, in
 *     `acknowledged` once its PUBACK or PUBREC came, in `dropped` once the device gave it up.
 * G2. What was sent and neither acknowledged nor dropped is in doubt: it may be logged or not.
 * G3. Memory and file grow with devices, boots and holes, not with readings.
 *
 * The file is lines of JSON: a heading, then one line for each device and boot. It is written
 * beside and renamed, so that a simulator that dies leaves the ledger before.
 */
import { createReadStream } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import type { ReadingId } from './payload/reading-id.ts'
import { Ranges } from './ranges.ts'

/** One device from a power-up to the next. */
export interface Account {
  readonly device: string
  readonly boot: number
  readonly sent: Ranges
  readonly acknowledged: Ranges
  readonly dropped: Ranges
}

const ledgerVersion = 1
const lists = ['sent', 'acknowledged', 'dropped'] as const

export class Ledger {
  private readonly byDevice = new Map<string, Map<number, Account>>()

  account(device: string, boot: number): Account {
    const boots = this.byDevice.get(device) ?? new Map<number, Account>()
    this.byDevice.set(device, boots)
    const known = boots.get(boot)
    if (known !== undefined) return known
    const account = {
      device,
      boot,
      sent: new Ranges(),
      acknowledged: new Ranges(),
      dropped: new Ranges(),
    }
    boots.set(boot, account)
    return account
  }

  /** The account that a reading belongs to; undefined when it is of no device of this fleet. */
  find({ device, boot }: ReadingId): Account | undefined {
    return this.byDevice.get(device)?.get(boot)
  }

  *accounts(): Generator<Account> {
    for (const boots of this.byDevice.values()) yield* boots.values()
  }

  /** Of all accounts together. */
  count(list: (typeof lists)[number]): number {
    let sum = 0
    for (const account of this.accounts()) sum += account[list].count
    return sum
  }

  /** On disk when it resolves. */
  async write(file: string, about: Readonly<Record<string, unknown>>): Promise<void> {
    const beside = `${file}.new`
    const handle = await open(beside, 'w')
    try {
      await handle.write(`${JSON.stringify({ ledger: ledgerVersion, ...about })}\n`)
      for (const { device, boot, sent, acknowledged, dropped } of this.accounts()) {
        const line = {
          device,
          boot,
          sent: sent.list(),
          acknowledged: acknowledged.list(),
          dropped: dropped.list(),
        }
        await handle.write(`${JSON.stringify(line)}\n`)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(beside, file)
  }

  /** Reads a ledger file. Throws a sentence when it is none. */
  static async read(file: string): Promise<Ledger> {
    const ledger = new Ledger()
    const input = createReadStream(file, 'utf8')
    const failed = new Promise<never>((_, reject) => input.once('error', reject))
    const read = async (): Promise<void> => {
      let number = 0
      for await (const line of createInterface({ input })) {
        number += 1
        const what = number === 1 ? heading(line) : ledger.take(line)
        if (!what) throw new Error(`${file}:${number} is no line of a ledger of the simulator`)
      }
      if (number === 0) throw new Error(`${file} is empty: the simulator has not written it yet`)
    }
    await Promise.race([read(), failed])
    return ledger
  }

  private take(line: string): boolean {
    const { device, boot, ...given } = JSON.parse(line) as Partial<Account>
    if (typeof device !== 'string' || typeof boot !== 'number') return false
    const account = this.account(device, boot)
    for (const name of lists) {
      const ranges = given[name] as unknown
      if (!Array.isArray(ranges)) return false
      for (const [first, end] of ranges as [number, number][]) account[name].addRange(first, end)
    }
    return true
  }
}

function heading(line: string): boolean {
  const { ledger } = JSON.parse(line) as { ledger?: unknown }
  return ledger === ledgerVersion
}
