/**
 * `npm run audit`: joins the ledger of `npm run sim -- --ledger FILE` with the log, with the output
 * of consumers and with that of an upstream. Exit code 0 when nothing is lost, 1 when something is
 * or the audit shows nothing.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { auditFleet, type FarEnd } from './audit/audit-fleet.ts'
import { CommandSource, HttpSource, type LogSource } from './audit/log-source.ts'
import { isGood, reportLines } from './audit/report.ts'

interface RawOptions {
  ledger: string
  data?: string
  http?: string
  tokenFile?: string
  consumer?: string[]
  consumerStream?: string[]
  consumerCursor?: string[]
  upstream?: string[]
  upstreamStream?: string[]
  upstreamCursor?: string[]
}

const command = new Command('npm run audit --')
  .description('Counts every reading of a simulated fleet from the device to the far end.')
  .requiredOption('--ledger <file>', 'what the simulator kept of its own readings')
  .option('--data <dir>', 'the log: the data directory of a gateway, running or not')
  .option('--http <url>', 'the log: the HTTP address of a running gateway')
  .option('--token-file <file>', 'the token of that address')
  .option('--consumer <file...>', 'what consumers wrote: lines of JSON with topic and payload')
  .option('--consumer-stream <name...>', 'the streams they take (default: all)')
  .option('--consumer-cursor <name...>', 'beginnings of their cursors, such as group/analytics/')
  .option('--upstream <file...>', 'the same at the other end of a bridge')
  .option('--upstream-stream <name...>', 'the streams it forwards (default: all)')
  .option('--upstream-cursor <name...>', 'beginnings of its cursors, such as bridge/cloud/')
  .parse()

const raw = command.opts<RawOptions>()
try {
  const result = await auditFleet({
    ledger: raw.ledger,
    log: await logSource(raw),
    farEnds: farEnds(raw),
  })
  for (const line of reportLines(result)) process.stdout.write(`${line}\n`)
  process.exitCode = isGood(result) ? 0 : 1
} catch (error) {
  process.stderr.write(`audit: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function logSource({ data, http, tokenFile }: RawOptions): Promise<LogSource | undefined> {
  if (http !== undefined) {
    const token = tokenFile === undefined ? undefined : await readFile(tokenFile, 'utf8')
    return new HttpSource(http, token?.trim())
  }
  if (data === undefined) return undefined
  const cli = [process.execPath, fileURLToPath(new URL('../dist/main.js', import.meta.url))]
  return new CommandSource(cli, data)
}

function farEnds(options: RawOptions): FarEnd[] {
  const { consumer, upstream } = options
  const ends: FarEnd[] = []
  if (consumer !== undefined) {
    const { consumerStream: streams = [], consumerCursor: cursors = [] } = options
    ends.push({ name: 'consumed', files: consumer, streams, cursors })
  }
  if (upstream !== undefined) {
    const { upstreamStream: streams = [], upstreamCursor: cursors = [] } = options
    ends.push({ name: 'upstream', files: upstream, streams, cursors })
  }
  return ends
}
