import { Bus } from 'tidings/internal/bus/bus'
import { HttpEngine } from 'tidings/internal/engines/http/http'
import { expect, onTestFinished, test } from 'vitest'
import { startLine } from '../support/line.ts'
import { startServer } from './support.ts'

test.each([
  ['send', (bus: Bus) => bus.queue('silent').send(1), 'OUTCOME_UNKNOWN'],
  ['publish', (bus: Bus) => bus.publish('Of.Silent', 1), 'OUTCOME_UNKNOWN'],
  ['stats', (bus: Bus) => bus.queue('silent').stats(), 'CONNECTION_LOST'],
  ['read', (bus: Bus) => bus.queue('silent').read({ limit: 1 }), 'CONNECTION_LOST'],
] as const)('a server that falls silent is noticed soon by %s', async (_what, call, code) => {
  const line = await startLine((await startServer()).url)
  const engine = new HttpEngine({ url: line.url, token: null })
  await engine.open()
  const bus = new Bus(engine)
  onTestFinished(async () => {
    await bus.close()
    line.close()
  })
  await bus.queue('silent').send(0)
  await bus.bind('Of.Silent', 'silent')
  line.freeze('frozen')
  const startedAt = performance.now()
  await expect(call(bus)).rejects.toMatchObject({ code, retryable: true })
  expect(performance.now() - startedAt).toBeLessThan(12_000)
  line.thaw()
  await bus.queue('silent').send(2)
  expect((await bus.queue('silent').stats()).ready).toBeGreaterThanOrEqual(2)
})
