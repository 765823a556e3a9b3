import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { name, text } from '../leaves.ts'

export interface GatewayConfig {
  /** Stands for `{gateway}` and in what leaves for the cloud. */
  readonly id: string
  /** As written: relative to the working directory. */
  readonly dataDir: string
}

/** `hostId` is the id when none is written. */
export const gatewaySchema = (hostId: string) =>
  z
    .strictObject({
      id: name().default(hostId),
      data_dir: text('the name of a folder').default(defaults.gateway.dataDir),
    })
    .transform((table): GatewayConfig => ({ id: table.id, dataDir: table.data_dir }))
