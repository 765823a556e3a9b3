/** `sluice passwd`: writes the lines of a password file. */
import {
  COST_DEFAULT,
  COST_MAX,
  COST_MIN,
  hashPassword,
  userFault,
  writePassword,
} from '../access/access.ts'
import type { CliContext } from './context.ts'
import { UsageError } from './tail-query.ts'

export interface PasswdOptions {
  readonly delete?: boolean
  readonly cost?: string
}

/** As long as CONNECT can carry one. */
const PASSWORD_BYTES_MAX = 65_535

/** Sets a user's password, or removes the user. Returns the exit code. */
export async function passwd(
  file: string,
  user: string,
  options: PasswdOptions,
  context: CliContext,
): Promise<number> {
  const fault = userFault(user)
  if (fault !== undefined) throw new UsageError(`the user name ${fault}`)
  if (options.delete === true) return remove(file, user, context)
  const cost = costOf(options.cost)
  const password = await askedPassword(context)
  const wasThere = writePassword(file, user, await hashPassword(Buffer.from(password), cost))
  context.output.err(`${user} ${wasThere ? 'has a new password' : 'was added'}. ${RELOAD}\n`)
  return 0
}

const RELOAD = 'A running gateway reads the file at SIGHUP.'

function remove(file: string, user: string, { output }: CliContext): number {
  if (writePassword(file, user, undefined)) {
    output.err(`${user} was removed. ${RELOAD}\n`)
    return 0
  }
  output.err(`sluice: there is no user ${user} in ${file}\n`)
  return 1
}

function costOf(text: string | undefined): number {
  if (text === undefined) return COST_DEFAULT
  const cost = /^\d{1,2}$/.test(text) ? Number(text) : 0
  if (cost >= COST_MIN && cost <= COST_MAX) return cost
  throw new UsageError(`--cost takes a whole number from ${COST_MIN} to ${COST_MAX}`)
}

async function askedPassword({ askSecret, secretsAreTyped }: CliContext): Promise<string> {
  const password = await askSecret('Password: ')
  if (password === undefined || password === '') throw new UsageError('no password was given')
  if (password.endsWith('\0')) throw new UsageError('the password ends with a zero byte')
  if (Buffer.byteLength(password) > PASSWORD_BYTES_MAX) {
    throw new UsageError(`the password is longer than ${PASSWORD_BYTES_MAX} bytes`)
  }
  // From a pipe it was not typed, so it cannot be mistyped.
  if (secretsAreTyped && (await askSecret('The same again: ')) !== password) {
    throw new UsageError('the two passwords differ, nothing was changed')
  }
  return password
}
