/** Packets that depend on a device's name and profile alone. */
import type { IConnectPacket, IPublishPacket, Packet, QoS } from 'mqtt-packet'
import type { Profile } from './profiles.ts'

const sessionExpirySeconds = 86_400

/** `forgetSession`: whatever the broker still knows of this device is to go. */
export function connectOf(name: string, profile: Profile, forgetSession: boolean): IConnectPacket {
  const { persistent, protocol, will } = profile
  const topic = `devices/${name}/status`
  const properties = { sessionExpiryInterval: sessionExpirySeconds }
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: protocol,
    clientId: name,
    clean: !persistent || forgetSession,
    keepalive: 60,
    ...(will && { will: { topic, payload: Buffer.from('offline'), qos: 1, retain: true } }),
    ...(protocol === 5 && persistent && { properties }),
  }
}

export function subscribeToCommands(name: string, messageId: number): Packet {
  const subscriptions = [{ topic: `devices/${name}/command`, qos: 1 as QoS }]
  return { cmd: 'subscribe', messageId, subscriptions } as Packet
}

/**
 * Goes where the command says, with its correlation data, at QoS 0: whoever gets no answer repeats
 * the command. Undefined when no answer is wanted.
 */
export function answerTo(command: IPublishPacket, name: string): IPublishPacket | undefined {
  const { responseTopic, correlationData } = command.properties ?? {}
  if (responseTopic === undefined) return undefined
  return {
    cmd: 'publish',
    topic: responseTopic,
    payload: Buffer.from(JSON.stringify({ device: name, done: true })),
    qos: 0,
    retain: false,
    dup: false,
    ...(correlationData && { properties: { correlationData } }),
  }
}
