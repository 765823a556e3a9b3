import { expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { Health } from '../../src/http/http.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { streamOf } from '../support/data-dir.ts'

it('is ready while it serves and every stream takes records', () => {
  const log = new MemoryLog([streamOf('a', 'a/#'), streamOf('b', '#')], new ManualClock(0))
  const health = new Health(log)
  expect(health.notReadyReasons()).toEqual(['the gateway is starting'])
  health.enter('serving')
  expect(health.notReadyReasons()).toEqual([])
  log.fail('b', 'the disk is full')
  expect(health.notReadyReasons()).toEqual(['stream b cannot be written: the disk is full'])
  log.setFull('a', 'no space')
  expect(health.notReadyReasons()).toContain('stream a refuses new messages: no space')
  log.setFull('a', undefined)
  health.enter('stopping')
  expect(health.notReadyReasons()).toHaveLength(2)
})

it('is not ready while cursors and gaps cannot be written', () => {
  const log = { failures: new Map(), full: new Map(), state: { failure: 'EIO' } }
  const health = new Health(log)
  health.enter('serving')
  expect(health.notReadyReasons()).toEqual(['cursors and gaps cannot be written: EIO'])
})
