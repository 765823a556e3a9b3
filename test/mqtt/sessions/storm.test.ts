import { expect, it } from 'vitest'
import { frontEnd } from '../../support/front-end.ts'
import type { RawClient } from '../../support/raw-client.ts'

const SESSIONS = 60
const MESSAGES = 1500

it('many sessions that come back at once get their own messages, in order, each once', async () => {
  const { connect } = await frontEnd({ maxInflight: 8 })
  const options = (n: number) => ({ clientId: `c${n}`, clean: false, version: 4 }) as const
  for (let n = 0; n < SESSIONS; n++) {
    const client = await connect(options(n))
    await client.subscribe(`own/${n}`, 1)
    if (n % 10 === 0) await client.subscribe('own/+', 1)
    client.end()
  }
  const publisher = await connect()
  let sent = 0
  const publish = (count: number): void => {
    for (let i = 0; i < count; i++, sent++) {
      const messageId = (sent % 65_535) + 1
      publisher.publish(`own/${sent % SESSIONS}`, String(sent), { qos: 1, messageId })
    }
  }
  publish(MESSAGES)
  await publisher.until(() => publisher.of('puback').length === sent, 'acks')
  const clients: RawClient[] = []
  for (let n = 0; n < SESSIONS; n++) {
    clients.push(await connect(options(n)))
    publish(30)
  }
  const wanted = (n: number) =>
    Array.from({ length: sent }, (_, number) => number).filter(
      (number) => n % 10 === 0 || number % SESSIONS === n,
    )
  for (const [n, client] of clients.entries()) {
    await client.until(() => client.payloads.length >= wanted(n).length, `all of client ${n}`)
  }
  for (const [n, client] of clients.entries()) {
    await client.ping()
    expect(client.payloads.map(Number)).toEqual(wanted(n))
  }
})
