/** What one client may ask for; each a key of the configuration under [mqtt]. */
export interface MqttLimits {
  /** A device subscribes to a handful; each costs memory and lengthens the walk of a new topic. */
  readonly subscriptionsMax: number
  /** Of a topic and of a filter: names are kept in memory, per topic and per segment. */
  readonly topicBytesMax: number
  readonly topicLevelsMax: number
  /** The id stands in every record's entry and once in every segment. */
  readonly clientIdBytesMax: number
  /** A connection with more than this unsent gets nothing more until some of it is sent. */
  readonly unsentBytesMax: number
  /** An MQTT 5 client that may be silent for longer is told to use this; 0: any may. */
  readonly keepAliveMaxS: number
}

/** What a client may publish; it is read more slowly beyond that, and nothing is dropped. */
export interface ClientRate {
  readonly messagesPerSecond?: number
  readonly bytesPerSecond?: number
}

/** The names of limits in metrics. */
export const limitNames = [
  'connections',
  'connection-rate',
  'handshake',
  'packet',
  'sessions',
  'subscriptions',
  'topic',
  'topic-levels',
  'client-id',
  'client-rate',
] as const
export type LimitName = (typeof limitNames)[number]
