import { MemoryLog } from '../../../src/log/memory.ts'
import { testLogState } from '../../contract/log-state.ts'
import { emptyFolder, open } from '../given.ts'

testLogState(
  'the in-memory model',
  async (streams, clock) => {
    const log = new MemoryLog(streams, clock)
    return { log, reopen: async () => log, clean: () => log.close() }
  },
  { durable: false },
)

testLogState(
  'the SQLite log',
  async (streams, clock) => {
    const dataDir = await emptyFolder()
    let log = await open(dataDir, streams, { clock })
    return {
      log,
      reopen: async () => {
        await log.close()
        log = await open(dataDir, streams, { clock })
        return log
      },
      clean: () => log.close(),
    }
  },
  { durable: true },
)
