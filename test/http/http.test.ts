import { connect, createServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Token } from '../../src/access/access.ts'
import { createHttp, type HttpServer, type Metrics } from '../../src/http/http.ts'
import { collectingLogger } from '../support/logger.ts'

const address = { host: '127.0.0.1', port: 0 }

async function given(
  parts: { reasons?: string[]; scrape?: () => Promise<string>; token?: Token } = {},
) {
  const metrics: Metrics = {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    scrape: parts.scrape ?? (async () => 'one 1\n'),
    close: () => undefined,
  }
  const reasons = parts.reasons ?? []
  const logger = collectingLogger()
  const health = { notReadyReasons: () => reasons }
  const server = createHttp({ address, token: parts.token, health, metrics, logger })
  onTestFinished(() => server.close())
  const { port } = await server.listen()
  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init)
  return { server, port, get, reasons, logger }
}

describe('the HTTP side', () => {
  it('says that the process lives, ready or not', async () => {
    const { get } = await given({ reasons: ['the gateway is starting'] })
    const response = await get('/healthz')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: 'ok' })
  })

  it('is ready only while nothing speaks against it', async () => {
    const { get, reasons } = await given({ reasons: ['the gateway is starting'] })
    const before = await get('/readyz')
    expect(before.status).toBe(503)
    expect(await before.json()).toEqual({
      status: 'not ready',
      reasons: ['the gateway is starting'],
    })
    reasons.length = 0
    const after = await get('/readyz')
    expect(after.status).toBe(200)
    expect(await after.json()).toEqual({ status: 'ready' })
  })

  it('hands out the metrics with their content type', async () => {
    const { get } = await given()
    const response = await get('/metrics')
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(await response.text()).toBe('one 1\n')
  })

  it.each([
    ['GET', '/nowhere'],
    ['POST', '/metrics'],
    ['GET', '/%ff'],
  ])('answers %s %s with a sentence', async (method, path) => {
    const { get } = await given()
    const response = await get(path, { method })
    expect(response.status).toBeGreaterThanOrEqual(400)
    expect(response.status).toBeLessThan(500)
    expect(await response.json()).toMatchObject({ message: expect.stringMatching(/\w+ \w+/) })
  })

  it('logs a failure, hides its details, and goes on', async () => {
    const { get, logger } = await given({ scrape: () => Promise.reject(new Error('secret path')) })
    const response = await get('/metrics')
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain('secret')
    expect(logger.lines).toEqual(['error: an HTTP request failed'])
    expect((await get('/healthz')).status).toBe(200)
  })

  it('closes although a client has sent half a request', async () => {
    const { server, port, get } = await given()
    const half = connect(port, '127.0.0.1')
    half.on('error', () => undefined)
    half.write('GET /healthz HTTP/1.1\r\n')
    // An answer on another connection: the first one has long been accepted.
    await get('/healthz')
    await server.close()
    await expect(get('/healthz')).rejects.toThrow()
  }, 5000)

  it('says that its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void other.close())
    await new Promise((resolve) => other.once('listening', resolve))
    const bound = other.address()
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0
    await expect(listenOn('127.0.0.1', port)).rejects.toMatchObject({
      code: 'address-in-use',
      message: `HTTP cannot listen on 127.0.0.1:${port}: the port is taken`,
    })
  })

  it('says that an address is not of this machine', async () => {
    await expect(listenOn('192.0.2.1', 0)).rejects.toMatchObject({ code: 'address-refused' })
  })
})

describe('a token', () => {
  const secret = 'a-token-of-enough-length'
  const bearer = (text: string) => ({ headers: { authorization: text } })

  it('is asked for by everything but health', async () => {
    const { get } = await given({ token: new Token(secret) })
    for (const path of ['/healthz', '/readyz', '/healthz?x=1']) {
      expect((await get(path)).status, path).toBe(200)
    }
    for (const path of ['/metrics', '/', '/metrics/../healthz/x', '/healthz/', '//healthz']) {
      expect((await get(path)).status, path).toBe(401)
    }
    expect((await get('/metrics', bearer(`Bearer ${secret}`))).status).toBe(200)
    expect((await get('/metrics', bearer(`bearer ${secret}`))).status).toBe(200)
  })

  it.each(['', 'Bearer', 'Bearer ', `Basic ${secret}`, `Bearer ${secret}x`, secret, 'Bearer a b'])(
    'is not %j',
    async (header) => {
      const { get } = await given({ token: new Token(secret) })
      const response = await get('/metrics', bearer(header))
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe('Bearer')
      expect(await response.text()).not.toContain(secret)
    },
  )

  it('changes while the server runs', async () => {
    const { get, server } = await given({ token: new Token(secret) })
    server.setToken(new Token(`${secret}-2`))
    expect((await get('/metrics', bearer(`Bearer ${secret}`))).status).toBe(401)
    expect((await get('/metrics', bearer(`Bearer ${secret}-2`))).status).toBe(200)
  })
})

function listenOn(host: string, port: number): Promise<unknown> {
  const server: HttpServer = createHttp({
    address: { host, port },
    token: undefined,
    health: { notReadyReasons: () => [] },
    metrics: { contentType: '', scrape: async () => '', close: () => undefined },
    logger: collectingLogger(),
  })
  onTestFinished(() => server.close())
  return server.listen()
}
