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
