/** `sluice groups`: asks the running gateway who consumes what, and how far it is behind. */
import type { GroupInfo } from '../consumers/consumers.ts'
import { askGateway, type GatewayOptions } from './ask-gateway.ts'
import type { CliContext } from './context.ts'
import { printable } from './format.ts'
import { tableLines } from './table.ts'

export interface GroupsOptions extends GatewayOptions {
  readonly format?: 'text' | 'json'
}

const HEADINGS = ['GROUP', 'STREAM', 'PARTITION', 'NEXT', 'LAG', 'MEMBER', 'UNDER WAY']

/** Prints each partition of each group. Exit code 1 when the gateway does not answer. */
export async function groupsCommand(options: GroupsOptions, context: CliContext): Promise<number> {
  const answer = await askGateway('GET', '/v1/groups', undefined, options, context)
  if (answer === undefined) return 1
  const { groups } = answer as { groups: readonly GroupInfo[] }
  if (groups.length === 0 && options.format !== 'json') {
    context.output.err('sluice: there is no consumer group\n')
    return 0
  }
  const lines =
    options.format === 'json'
      ? groups.map((group) => JSON.stringify(group))
      : tableLines(HEADINGS, groups.flatMap(rowsOf))
  await context.data.write(lines.map((line) => `${printable(line)}\n`).join(''))
  return 0
}

function rowsOf({ group, stream, filter, members, partitions }: GroupInfo): string[][] {
  const source = filter === undefined ? stream : `${stream}/${filter}`
  return partitions.map(({ partition, next, lag, clientId }) => {
    const member = members.find((one) => one.clientId === clientId)
    const [first] = member?.partitions ?? []
    // Of a member, not of a partition: said once.
    const inflight = member !== undefined && first === partition ? String(member.inflight) : ''
    const who = member?.isStalled === true ? `${clientId} (stalled)` : (clientId ?? '-')
    return [group, source, String(partition), String(next), String(lag), who, inflight]
  })
}
