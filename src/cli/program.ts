/** The commands and options of `sluice`, and what the shell gets back: 0, or 1 for any trouble. */
import { Command, CommanderError, Option } from 'commander'
import { messageOf, SluiceError } from '../base/errors.ts'
import type { CliContext } from './context.ts'
import { recordFormats } from './format.ts'
import { UsageError } from './tail-query.ts'

/**
 * Runs the command line `args` (without node and the script) and resolves with the exit code.
 * Troubles a person can meet are said on standard error; anything else is a bug and is thrown.
 */
export async function runProgram(args: readonly string[], context: CliContext): Promise<number> {
  let exitCode = 0
  const program = createProgram(context, async (command) => {
    exitCode = await command
  })
  if (args.length === 0) {
    program.outputHelp()
    return 0
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has already said what is wrong; asking for help or the version is no trouble.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1
    if (error instanceof SluiceError) context.output.err(describeTrouble(error))
    else if (error instanceof UsageError) context.output.err(`sluice: ${error.message}\n`)
    else throw error
    return 1
  }
}

/** What happened, why where the sentence does not say it yet, and what to do. */
export function describeTrouble({ code, message, hint, cause }: SluiceError): string {
  const why = cause === undefined || code !== 'storage' ? '' : messageOf(cause)
  const sentence = why === '' || message.includes(why) ? message : `${message}: ${why}`
  return `sluice: ${sentence}\n${hint}\n`
}

type Run = (command: Promise<number>) => Promise<void>

function createProgram(context: CliContext, run: Run): Command {
  const program = new Command('sluice')
    .description('An MQTT edge broker that keeps every message in a durable, partitioned log.')
    .version(context.version, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.output.out(text),
      writeErr: (text) => context.output.err(text),
    })
    .showHelpAfterError('(add --help for the options)')
  addServe(program, context, run)
  addCheck(program, context, run)
  addStreams(program, context, run)
  addTail(program, context, run)
  addGaps(program, context, run)
  addCursors(program, context, run)
  addSeek(program, context, run)
  addBackup(program, context, run)
  addRestore(program, context, run)
  addVerifyLog(program, context, run)
  addPasswd(program, context, run)
  addAudit(program, context, run)
  addDecodeBatch(program, context, run)
  addBridge(program, context, run)
  addConsumers(program, context, run)
  return program
}

const configOption = () => new Option('-c, --config <file>', 'the configuration file')
const dataOption = () => new Option('-d, --data <dir>', 'the data directory')

const WHERE = `
Without --config, ./sluice.toml is read when it exists; otherwise the defaults hold.
--data wins over the data directory of the configuration.`

function addServe(program: Command, context: CliContext, run: Run): void {
  program
    .command('serve')
    .description('run the gateway until SIGINT or SIGTERM')
    .addOption(configOption())
    .addOption(dataOption())
    .addHelpText('after', WHERE)
    .action(async (options) => {
      const { serve } = await import('./serve.ts')
      await run(serve(options, context))
    })
}

function addCheck(program: Command, context: CliContext, run: Run): void {
  program
    .command('check')
    .description('say what is wrong with a configuration file; exit code 0 or 1')
    .addOption(configOption().makeOptionMandatory())
    .action(async (options) => {
      const { check } = await import('./check.ts')
      await run(Promise.resolve(check(options.config, context.output)))
    })
}

function addStreams(program: Command, context: CliContext, run: Run): void {
  program
    .command('streams')
    .description('list the streams of a data directory, also beside a running gateway')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(new Option('--format <format>', 'how').choices(['text', 'json']).default('text'))
    .addHelpText('after', WHERE)
    .action(async (options) => {
      const { streams } = await import('./streams.ts')
      await run(streams(options, context))
    })
}

const TAIL_HELP = `
--from takes
  earliest               the first record kept (the default without --follow)
  latest                 what comes from now on (the default with --follow)
  -10m                   a time back: ms, s, m, h or d
  2026-01-31T08:00:00Z   an ISO time
  2:1042                 offset 1042 of partition 2, and all that was written after it

text  cuts long payloads and shows bytes that are neither text, JSON nor CBOR as hex
json  one object a line: payload holds JSON and CBOR decoded and text as a string;
      other bytes are in payload_base64
raw   each payload as it is, and a newline after it
${WHERE}`

function addTail(program: Command, context: CliContext, run: Run): void {
  program
    .command('tail')
    .description('print the records of a stream, also beside a running gateway')
    .argument('<stream>', 'its name; "sluice streams" lists them')
    .addOption(configOption())
    .addOption(dataOption())
    .option('--from <start>', 'where to begin')
    .option('--partition <n>', 'only this partition')
    .option('--topic <filter>', 'only topics that match this MQTT filter')
    .option('-f, --follow', 'go on with what is written from now on, until SIGINT')
    .option('-n, --limit <n>', 'end after this many records')
    .addOption(new Option('--format <format>', 'how').choices(recordFormats).default('text'))
    .addHelpText('after', TAIL_HELP)
    .action(async (stream, options) => {
      const { tail } = await import('./tail.ts')
      await run(tail(stream, options, context))
    })
}

const BACKUP_HELP = `
The folder is a new or empty one, or one with a backup of the same gateway: then only what
changed is added, and the backup before holds until the new one is complete.
On the file system of the data directory, sealed segments are hard links: they cost no space, and
are no help when that disk fails.
${WHERE}`

function addBackup(program: Command, context: CliContext, run: Run): void {
  program
    .command('backup')
    .description('back up a data directory, also beside a running gateway')
    .argument('<folder>', 'where the backup goes')
    .addOption(configOption())
    .addOption(dataOption())
    .addHelpText('after', BACKUP_HELP)
    .action(async (folder, options) => {
      const { backup } = await import('./backup.ts')
      await run(backup(folder, options, context))
    })
}

function addRestore(program: Command, context: CliContext, run: Run): void {
  program
    .command('restore')
    .description('make a data directory out of a backup, with a new epoch')
    .argument('<backup>', 'the folder of the backup')
    .requiredOption('-d, --data <dir>', 'the new data directory: not there yet, or empty')
    .option('--no-verify', 'do not compare the files with the manifest')
    .action(async (backup, options) => {
      const { restore } = await import('./restore.ts')
      await run(restore(backup, options, context))
    })
}

const formatOption = () =>
  new Option('--format <format>', 'how').choices(['text', 'json']).default('text')

function addGaps(program: Command, context: CliContext, run: Run): void {
  program
    .command('gaps')
    .description('list what was lost before it was read, also beside a running gateway')
    .addOption(configOption())
    .addOption(dataOption())
    .option('--stream <name>', 'only of this stream')
    .option('--cursor <name>', 'only of this cursor')
    .addOption(formatOption())
    .addHelpText('after', WHERE)
    .action(async (options) => {
      const { gaps } = await import('./gaps.ts')
      await run(gaps(options, context))
    })
}

function addCursors(program: Command, context: CliContext, run: Run): void {
  program
    .command('cursors')
    .description('list the cursors and what they have not read, also beside a running gateway')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(formatOption())
    .addHelpText('after', `\nA running gateway writes most moves every 5 seconds.\n${WHERE}`)
    .action(async (options) => {
      const { cursors } = await import('./cursors.ts')
      await run(cursors(options, context))
    })
}

const SEEK_HELP = `
--to takes
  earliest, latest       the first record kept; what comes from now on
  -6h                    a time back: ms, s, m, h or d
  2026-01-31T08:00:00Z   an ISO time
  2:1042                 offset 1042 of partition 2: a cursor by partition moves in this one alone
${WHERE}`

function addSeek(program: Command, context: CliContext, run: Run): void {
  program
    .command('seek')
    .description('move a cursor, forward or back, while no gateway runs')
    .argument('<cursor>', 'its name; "sluice cursors" lists them')
    .addOption(configOption())
    .addOption(dataOption())
    .requiredOption('--to <start>', 'where it is to read on')
    .addHelpText('after', SEEK_HELP)
    .action(async (cursor, options) => {
      const { seek } = await import('./seek.ts')
      await run(seek(cursor, options, context))
    })
}

const VERIFY_HELP = `
Looks at every segment (structure, the checksum of each record, positions and offsets against the
ledger of gaps) and at state.db. Exit code 0 when nothing is wrong, 1 otherwise.
--repair moves damaged files to quarantine/ in the data directory, salvages their readable records
under the same names, and notes the rest as gaps. The gateway must not run then.
${WHERE}`

function addVerifyLog(program: Command, context: CliContext, run: Run): void {
  program
    .command('verify-log')
    .description('check all that is on disk, also beside a running gateway')
    .addOption(configOption())
    .addOption(dataOption())
    .option('--repair', 'set damaged files aside and salvage what is in them')
    .addOption(formatOption())
    .addHelpText('after', VERIFY_HELP)
    .action(async (options) => {
      const { verifyLogCommand } = await import('./verify-log.ts')
      await run(verifyLogCommand(options, context))
    })
}

const PASSWD_HELP = `
Asks twice on a terminal, without showing what is typed; otherwise the password is the first line
of standard input. The file holds lines user:hash; the hash is scrypt with a salt of its own.
A running gateway reads the file again at SIGHUP, and disconnects who was removed or changed.`

function addPasswd(program: Command, context: CliContext, run: Run): void {
  program
    .command('passwd')
    .description('set the password of a user in a password file, or remove the user')
    .argument('<file>', 'the password file; made if it is missing')
    .argument('<user>', 'the name of the user')
    .option('--delete', 'remove the user')
    .option('--cost <n>', '2^n rounds of scrypt, 10 to 17 (default 14: 35 ms on a PC)')
    .addHelpText('after', PASSWD_HELP)
    .action(async (file, user, options) => {
      const { passwd } = await import('./passwd.ts')
      await run(passwd(file, user, options, context))
    })
}

const AUDIT_HELP = `
Understands what a bridge of any gateway sends: MQTT 5 user properties, envelopes and batches.
Exit code 0 when nothing is missing but what gaps explain, otherwise 1. Times: 30s, 10m, 1h.
Without --duration and --until-idle it ends with SIGINT.
With --client-id the broker keeps what comes while the audit's own link is away.`

function addAudit(program: Command, context: CliContext, run: Run): void {
  program
    .command('audit')
    .description('subscribe at the far end of a bridge, and say what is missing or came twice')
    .requiredOption('--upstream <url>', 'the broker: mqtt, mqtts, ws or wss')
    .requiredOption('--topic <filter>', 'what the bridge publishes there, such as sites/gw-1/#')
    .addOption(
      new Option('--protocol <n>', '5, or 4 for MQTT 3.1.1').choices(['4', '5']).default('5'),
    )
    .option('--username <name>', 'the user')
    .option('--password-file <file>', 'a file with the password')
    .option('--ca-file <file>', 'the authority that signed the broker, in PEM')
    .option('--cert-file <file>', 'a certificate for the broker, in PEM')
    .option('--key-file <file>', 'its key')
    .option('--client-id <id>', 'a name for a session that outlasts the connection')
    .option('--duration <time>', 'end after this time')
    .option('--until-idle <time>', 'end when nothing has come for this time')
    .option('-d, --data <dir>', "the gateway's data directory, or a copy: its gaps explain holes")
    .option('--bridge <name>', 'with --data: only the gaps of this bridge')
    .option('--only <filters...>', "with --data: the forward's topics, where it has some")
    .option('--whole', 'with --data: all that the log has must have come, from its first record on')
    .addOption(formatOption())
    .addHelpText('after', AUDIT_HELP)
    .action(async (options) => {
      const { audit } = await import('./audit.ts')
      await run(audit(options, context))
    })
}

const DECODE_BATCH_HELP = `
A message of a forward with "batch", for example:
  mosquitto_sub -h broker.example.com -t 'sites/gw-1/#' -C 1 -N | sluice decode-batch
(-N: no newline behind it). docs/FORMAT.md says what is in one.`

function addDecodeBatch(program: Command, context: CliContext, run: Run): void {
  program
    .command('decode-batch')
    .description('print the records of a batch that a bridge has sent')
    .argument('[file]', 'the payload of the message; standard input without it')
    .addOption(formatOption())
    .option('--json', 'the same as --format json')
    .addHelpText('after', DECODE_BATCH_HELP)
    .action(async (file, options) => {
      const { decodeBatchCommand } = await import('./decode-batch.ts')
      await run(decodeBatchCommand(file, options, context))
    })
}

function addConsumers(program: Command, context: CliContext, run: Run): void {
  const command = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .addOption(configOption())
      .option('--url <url>', "where the gateway's HTTP listens, such as http://127.0.0.1:8080")
  command('groups', 'say who consumes which partitions, and how far behind')
    .addOption(formatOption())
    .action(async (options) => {
      const { groupsCommand } = await import('./groups.ts')
      await run(groupsCommand(options, context))
    })
  command('queues', 'say what waits in the work queues')
    .addOption(formatOption())
    .action(async (options) => {
      const { queuesCommand } = await import('./queues.ts')
      await run(queuesCommand(options, context))
    })
  command('redrive', 'put the dead letters of a queue back into it')
    .argument('<queue>', 'its name')
    .action(async (queue, options) => {
      const { redriveCommand } = await import('./redrive.ts')
      await run(redriveCommand(queue, options, context))
    })
}

const BRIDGE_HELP = `
Asks the running gateway at the address of [http]; --url names another.
The state is up, paused, connecting, or why the link is down: refused, name-unknown, unreachable,
tls-failed, bad-credentials, not-authorized, client-id, quota, unavailable, server-disconnected,
half-open, stuck, protocol, lost, unusable.`

function addBridge(program: Command, context: CliContext, run: Run): void {
  const bridge = program
    .command('bridge')
    .description('say what the bridges of a running gateway do; pause, resume and move them')
    .addHelpText('after', BRIDGE_HELP)
  const command = (name: string, description: string) =>
    bridge
      .command(name)
      .description(description)
      .addOption(configOption())
      .option('--url <url>', "where the gateway's HTTP listens, such as http://127.0.0.1:8080")
  command('status', 'what each bridge does; exit code 0 when all are up')
    .argument('[name]', 'only this one')
    .addOption(formatOption())
    .action(async (name, options) => {
      const { bridgeStatus } = await import('./bridge.ts')
      await run(bridgeStatus(name, options, context))
    })
  command('pause', 'end the link and keep the place, until it is resumed')
    .argument('<name>', 'its name')
    .action(async (name, options) => {
      const { bridgePause } = await import('./bridge.ts')
      await run(bridgePause(name, options, context))
    })
  command('resume', 'connect again and go on')
    .argument('<name>', 'its name')
    .action(async (name, options) => {
      const { bridgeResume } = await import('./bridge.ts')
      await run(bridgeResume(name, options, context))
    })
  command('seek', 'send from somewhere else on, also history again')
    .argument('<name>', 'its name')
    .requiredOption('--to <start>', 'earliest, latest, -6h, an ISO time, or <partition>:<offset>')
    .option('--stream <name>', 'only the forwards of this stream')
    .action(async (name, options) => {
      const { bridgeSeek } = await import('./bridge.ts')
      await run(bridgeSeek(name, options, context))
    })
}
