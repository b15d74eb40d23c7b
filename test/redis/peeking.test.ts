import { describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, newName, openEngine } from './support.ts'

describe.each([3, 1_100])('%i messages that are leased, and as many delayed ones', (count) => {
  test('are found behind others, page by page', async () => {
    const engine = await openEngine(await sharedServer('redis'))
    const queue = newName('peeking')
    await engine.createQueue(queue)
    const send = (fields: Parameters<typeof message>[0] = {}) =>
      engine.send(
        queue,
        Array.from({ length: count }, () => message(fields)),
        null,
      )
    await send()
    const leased = (await claimAll(engine, queue, count)).map(({ id }) => id)
    const delayed = (await send({ delayMs: 3_600_000 })).map(({ id }) => id)
    await send({ orderingKey: 'k', delayMs: 3_600_000 })
    await send()
    const pages = async (place: 'leased' | 'delayed') => {
      const found: string[] = []
      for (let afterId: string | null = null; ; afterId = found.at(-1)!) {
        const page = await engine.peek(queue, { place, limit: Math.ceil(count / 2), afterId, ids: null })
        if (page.length === 0) return found
        found.push(...page.map(({ id }) => id))
      }
    }
    expect(await pages('leased')).toEqual([...leased].sort())
    const allDelayed = await pages('delayed')
    expect(allDelayed).toHaveLength(2 * count)
    expect(allDelayed.slice(0, count)).toEqual(delayed)
    await engine.dropQueue(queue)
    await engine.close()
  })
})
