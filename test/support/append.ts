import type { EventLog, LogRecord } from '../../src/log/log.ts'

/** Appends a message for each payload as one client would, and resolves once all are kept. */
export function appendText(
  log: EventLog,
  topic: string,
  payloads: readonly (string | Uint8Array)[],
): Promise<LogRecord[]> {
  const route = log.route(topic)
  const client = log.client('tester')
  const settled: LogRecord[] = []
  return new Promise((resolve, reject) => {
    for (const payload of payloads) {
      const bytes = Buffer.from(payload)
      log.append({
        route,
        client,
        qos: 1,
        retain: false,
        key: undefined,
        bytes,
        propertiesAt: 0,
        propertiesEnd: 0,
        payloadAt: 0,
        payloadEnd: bytes.length,
        waiter: {
          settled: (outcome, record) => {
            if (outcome !== 'kept') reject(new Error(`${topic} was refused`))
            settled.push(record)
            if (settled.length === payloads.length) resolve(settled)
          },
        },
      })
    }
    log.flush()
  })
}
