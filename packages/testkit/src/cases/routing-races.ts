import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { PublishedCopy } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { boundQueues, publish, queuesOf } from '../routing-scene.ts'
import { atOnce, dataOf, idsOf, long, newStart, queueCopies, routed, type Scene, text, times } from '../scene.ts'

/** Publishers that go on for as long as something else is done. */
function publishUntilDone(scene: Scene, routingKey: string, publishers: number) {
  let over = false
  const published = atOnce(publishers, async () => {
    const results: PublishedCopy[][] = []
    while (!over) {
      results.push(await publish(scene, routingKey))
      await turn()
    }
    return results
  })
  const results = published.then((all) => all.flat())
  // The caller that asks for the results hears of a failure, not the process.
  results.catch(() => {})
  return {
    results,
    async during(work: () => Promise<void>): Promise<void> {
      try {
        await work()
      } finally {
        over = true
        await Promise.allSettled([published])
      }
    },
  }
}

export const routingRaces = group('routing', {
  'all copies appear at once': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 3, start)
    let publishing = true
    const watching = (async () => {
      for (let round = 0; publishing; round++) {
        // Whichever is looked at first: what is there must be in the next one too.
        const [early, late] = round % 2 === 0 ? [queues[0], queues[2]] : [queues[2], queues[0]]
        const seen = dataOf(await scene.peek({}, early))
        const then = new Set(dataOf(await scene.peek({}, late)))
        assert.deepEqual(
          seen.filter((label) => !then.has(label)),
          [],
        )
        await turn()
      }
    })()
    watching.catch(() => {})
    try {
      for (let index = 0; index < 30; index++) await publish(scene, start, text(`m${index}`))
    } finally {
      publishing = false
      await watching
    }
  },

  'many publishers lose nothing': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 3, `${start}.#`)
    const published = await atOnce(10, async (publisher) => {
      const copies: PublishedCopy[] = []
      for (let round = 0; round < 5; round++)
        copies.push(...(await publish(scene, `${start}.${publisher}`, text(`${publisher}/${round}`))))
      return copies
    })
    for (const queue of queues) {
      const messages = await scene.peek({}, queue)
      const ids = queueCopies(published.flat()).filter((one) => one.queue === queue)
      assert.deepEqual(idsOf(messages).sort(), idsOf(ids).sort())
      assert.equal(new Set(dataOf(messages)).size, 50)
    }
  },

  'publishers of the same dedup ids do not block each other': async (scene) => {
    const start = newStart()
    const queues = await boundQueues(scene, 3, `${start}.*`)
    const batch = times(10, (index) =>
      routed(`${start}.${index}`, { dedup: { id: `${index}`, windowMs: long }, uniqueTarget: `${index}` }),
    )
    const results = await atOnce(6, (index) =>
      scene.engine.publish(index % 2 === 0 ? batch : [...batch].reverse(), null),
    )
    assert.equal(results.flat(2).filter(({ duplicate }) => !duplicate).length, 30)
    for (const queue of queues) assert.equal((await scene.peek({}, queue)).length, 10)
  },

  'bindings change while others publish': async (scene) => {
    const start = newStart()
    const other = await scene.newQueue()
    const queues = [scene.queue, other]
    await scene.engine.bind({ pattern: `${start}.#`, queue: scene.queue })
    const publishing = publishUntilDone(scene, `${start}.a`, 3)
    await publishing.during(async () => {
      for (let round = 0; round < 10; round++) {
        await scene.engine.bind({ pattern: `${start}.a`, queue: other })
        // A message published after this finds the binding.
        assert(queuesOf(await publish(scene, `${start}.a`, text('known'))).includes(other))
        await scene.engine.unbind({ pattern: `${start}.a`, queue: other })
        assert(!queuesOf(await publish(scene, `${start}.a`, text('known'))).includes(other))
      }
    })
    const copies = queueCopies((await publishing.results).flat())
    for (const queue of queues) {
      const stored = (await scene.peek({ limit: 100_000 }, queue)).filter((one) => one.data === 'null')
      const reported = copies.filter((one) => one.queue === queue)
      assert.deepEqual(idsOf(stored).sort(), idsOf(reported).sort())
    }
  },

  'a queue that is dropped meanwhile takes nothing from the others': async (scene) => {
    const start = newStart()
    const [kept, dropped] = [scene.queue, await scene.newQueue()]
    await scene.engine.bind({ pattern: start, queue: kept })
    const publishing = publishUntilDone(scene, start, 2)
    await publishing.during(async () => {
      for (let round = 0; round < 5; round++) {
        await scene.engine.bind({ pattern: start, queue: dropped })
        await turn()
        await scene.engine.dropQueue(dropped)
        await turn()
        await scene.engine.createQueue(dropped)
      }
    })
    const published = await publishing.results
    for (const copies of published) assert(queuesOf(copies).includes(kept))
    assert.equal((await scene.peek({ limit: 100_000 })).length, published.length)
  },

  'a binding is made and removed by one of many': async (scene) => {
    const pattern = `${newStart()}.#`
    const made = await atOnce(5, () => scene.engine.bind({ pattern, queue: scene.queue }))
    assert.equal(made.filter(Boolean).length, 1)
    const removed = await atOnce(5, () => scene.engine.unbind({ pattern, queue: scene.queue }))
    assert.equal(removed.filter(Boolean).length, 1)
  },
})
