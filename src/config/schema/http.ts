import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { address, compact, fileName } from '../leaves.ts'

export interface HttpConfig {
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  /** Whose content a request beyond health must carry. */
  readonly tokenFile?: string
}

export const httpSchema = z
  .strictObject({
    address: address().default({ host: defaults.http.host, port: defaults.http.port }),
    token_file: fileName().optional(),
  })
  .transform(
    ({ address: { host, port }, token_file }): HttpConfig =>
      compact({ host, port, tokenFile: token_file }),
  )
