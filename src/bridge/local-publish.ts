import type { EventLog } from '../log/log.ts'
import type { PublishLocal } from './down.ts'

/**
 * Appends what came down to the log. Always into a stream, the built-in one where no other takes
 * the topic: the upstream is told that it is kept, so it must be, whoever is there now to want it.
 * Subscribers get it from the log, as they get everything.
 */
export function publishTo(log: EventLog): PublishLocal {
  return ({ client, topic, payload, properties, userProperties, qos, retain }) =>
    new Promise((resolve) => {
      const route = log.fallbackRoute(topic)
      const wanted = route.stream?.key
      const key =
        wanted?.kind === 'user-property'
          ? userProperties.find(([name]) => name === wanted.name)?.[1]
          : undefined
      const bytes = Buffer.concat([properties, payload])
      log.append({
        route,
        client: log.client(client),
        qos,
        retain,
        key,
        bytes,
        propertiesAt: 0,
        propertiesEnd: properties.length,
        payloadAt: properties.length,
        payloadEnd: bytes.length,
        waiter: { settled: (outcome) => resolve(outcome === 'kept') },
      })
    })
}
