import { Bus } from 'tidings/internal/bus/bus'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Line, startLine } from '../support/line.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { newName, openEngine } from './support.ts'

let line: Line
let bus: Bus

beforeEach(async () => {
  line = await startLine(await sharedServer('redis'))
  bus = new Bus(await openEngine(line.url))
})
afterEach(async () => {
  line.thaw()
  await bus.close()
  line.close()
})

describe('a connection that falls silent is noticed soon', () => {
  test.each([
    ['send', (name: string) => bus.queue(name).send(1), 'OUTCOME_UNKNOWN'],
    ['publish', (name: string) => bus.publish(`Of.${name}`, 1), null],
    ['stats', (name: string) => bus.queue(name).stats(), null],
    ['read', (name: string) => bus.queue(name).read({ limit: 1 }), null],
  ] as const)('by %s', async (_what, call, code) => {
    const name = newName('silent')
    await bus.queue(name).send(0)
    await bus.bind(`Of.${name}`, name)
    line.freeze('pass')
    const startedAt = performance.now()
    if (code === null) await call(name)
    else await expect(call(name)).rejects.toMatchObject({ code })
    expect(performance.now() - startedAt).toBeLessThan(20_000)
    await bus.queue(name).send(2)
  })
})

test('messages that are on their way for longer than their lease are handled once', async () => {
  const queue = bus.queue(newName('slow'))
  await queue.sendBatch(Array.from({ length: 8 }, (_, at) => ({ data: `${at}${'x'.repeat(1_000_000)}` })))
  line.slow(1_000_000)
  const handled: string[] = []
  const told = new Set<string>()
  const handler = ({ data }: { data: unknown }) => void handled.push(String(data).charAt(0))
  await queue.work(handler, { concurrency: 5, observe: ({ type }) => void told.add(type) }).drain()
  expect(handled).toEqual(['0', '1', '2', '3', '4', '5', '6', '7'])
  expect([...told]).not.toContain('leaseLost')
})
