/** The records that a message from an upstream carries, by properties, envelope or batch. */
import { BatchError, decodeBatch, looksLikeBatch } from '../bridge/batch-decode.ts'
import { decodeEnvelope } from '../bridge/envelope.ts'
import type { Origin } from './audit-lanes.ts'

export type UserProperties = Readonly<Record<string, string | readonly string[]>>

/** Longer names than a configuration has are not ours. */
const NAME_CHARACTERS_MAX = 64
const PARTITION_END = 65_536

/** What a message says that it is; empty for one that says nothing. */
export async function originsOf(
  payload: Uint8Array,
  properties: UserProperties | undefined,
): Promise<readonly Origin[]> {
  const named = properties && fromProperties(properties)
  if (named !== undefined) return [named]
  if (looksLikeBatch(payload)) return await fromBatch(payload)
  const envelope = decodeEnvelope(payload)
  return envelope !== undefined && isPossible(envelope) ? [envelope] : []
}

async function fromBatch(payload: Uint8Array): Promise<readonly Origin[]> {
  try {
    const { gateway, epoch, stream, records } = await decodeBatch(payload)
    return records
      .map(({ partition, offset }) => ({ gateway, epoch, stream, partition, offset }))
      .filter(isPossible)
  } catch (error) {
    // Any device may send compressed bytes of its own.
    if (error instanceof BatchError) return []
    throw error
  }
}

function fromProperties(properties: UserProperties): Origin | undefined {
  const origin = {
    gateway: last(properties['gateway']),
    epoch: whole(last(properties['epoch'])),
    stream: last(properties['stream']),
    partition: whole(last(properties['partition'])),
    offset: whole(last(properties['offset'])),
  }
  return isPossible(origin) ? origin : undefined
}

/** The bridge adds its own behind those of the publisher. */
function last(value: string | readonly string[] | undefined): string {
  return (typeof value === 'string' ? value : value?.at(-1)) ?? ''
}

function whole(text: string): number {
  return /^\d{1,16}$/.test(text) ? Number(text) : -1
}

function isPossible({ gateway, epoch, stream, partition, offset }: Origin): boolean {
  const names = [gateway, stream]
  return (
    names.every((name) => name !== '' && name.length <= NAME_CHARACTERS_MAX) &&
    [epoch, partition, offset].every((number) => Number.isSafeInteger(number) && number >= 0) &&
    // The end behind it must be a number as well.
    Number.isSafeInteger(offset + 1) &&
    partition < PARTITION_END
  )
}
