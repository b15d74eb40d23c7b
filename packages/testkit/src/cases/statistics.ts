import assert from 'node:assert/strict'
import type { QueueStats } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { archive, assertAtLeast, long, release, short, waits } from '../scene.ts'

export const statistics = group('stats', {
  'an empty queue': async (scene) => {
    const { createdAt, ...stats } = await scene.engine.stats(scene.queue)
    assert.deepEqual(stats, {
      queue: scene.queue,
      ready: 0,
      heldBack: 0,
      delayed: 0,
      leased: 0,
      archived: 0,
      totalSent: 0,
      oldestReadyMs: null,
      nextDueMs: null,
      newestMs: null,
      oldestMs: null,
    })
  },

  'messages are counted in their places': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    await scene.delete(await scene.lease())
    await scene.lease()
    await scene.lease()
    await scene.settle(await scene.lease(), release({ delayMs: long }))
    await scene.send(...waits.map((delayMs) => ({ delayMs })), {}, {}, {}, {})
    const { ready, delayed, leased, archived } = await scene.engine.stats(scene.queue)
    assert.deepEqual({ ready, delayed, leased, archived }, { ready: 4, delayed: 3, leased: 2, archived: 1 })
  },

  'a message that came due counts as ready': async (scene) => {
    await scene.lease({}, short)
    await scene.send({ delayMs: short })
    await scene.passTime(short)
    const { ready, delayed, leased } = await scene.engine.stats(scene.queue)
    assert.deepEqual({ ready, delayed, leased }, { ready: 2, delayed: 0, leased: 0 })
  },

  'a message that waits for its key counts as ready': async (scene) => {
    await scene.send({ orderingKey: 'k' }, { orderingKey: 'k' }, { orderingKey: 'k' })
    await scene.claimOne()
    const { ready, leased } = await scene.engine.stats(scene.queue)
    assert.deepEqual({ ready, leased }, { ready: 2, leased: 1 })
  },

  'settled messages stay counted as sent': async (scene) => {
    await scene.sendMany(5)
    const before = (await scene.engine.stats(scene.queue)).totalSent
    assert(before >= 5)
    await scene.pop(2)
    await scene.engine.purgeQueue(scene.queue)
    assert.equal((await scene.engine.stats(scene.queue)).totalSent, before)
    await scene.send({})
    assert((await scene.engine.stats(scene.queue)).totalSent > before)
  },

  'ages count from sending': async (scene) => {
    await scene.send({ delayMs: long })
    await scene.passTime(short)
    await scene.send({})
    await scene.passTime(short)
    const { newestMs, oldestMs } = await scene.engine.stats(scene.queue)
    assertAtLeast(newestMs, short, 'newestMs')
    assertAtLeast(oldestMs, newestMs! + short, 'oldestMs')
  },

  'the age of a ready message counts from when it became ready': async (scene) => {
    await scene.send({ delayMs: short })
    await scene.passTime(2 * short)
    const { oldestReadyMs, oldestMs } = await scene.engine.stats(scene.queue)
    assertAtLeast(oldestReadyMs, short, 'oldestReadyMs')
    assertAtLeast(oldestMs, oldestReadyMs! + short, 'oldestMs')
  },

  'without a ready message there is no age of one': async (scene) => {
    await scene.lease()
    await scene.send({ delayMs: long })
    const { oldestReadyMs, oldestMs, newestMs } = await scene.engine.stats(scene.queue)
    assert.equal(oldestReadyMs, null)
    assertAtLeast(oldestMs, 0, 'oldestMs')
    assertAtLeast(newestMs, 0, 'newestMs')
  },

  'the next message that becomes ready is one whose time comes or whose lease ends': async (scene) => {
    await scene.send({ delayMs: 2 * long })
    const { nextDueMs: delayed } = await scene.engine.stats(scene.queue)
    assert(delayed !== null && delayed > long && delayed <= 2 * long)
    await scene.lease({}, long)
    const { nextDueMs: leased } = await scene.engine.stats(scene.queue)
    assert(leased !== null && leased > 0 && leased <= long)
    await scene.send({})
    const { nextDueMs: later } = await scene.engine.stats(scene.queue)
    assert(later !== null && later > 0 && later <= long)
  },

  'figures of a part of the messages are those of all where there are no more': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    await scene.lease({ orderingKey: 'k' })
    await scene.send({ orderingKey: 'k' }, {}, {}, { delayMs: long }, ...waits.map((delayMs) => ({ delayMs })))
    const counts = ({ oldestReadyMs, nextDueMs, newestMs, oldestMs, ...rest }: QueueStats) => rest
    const some = await scene.engine.stats(scene.queue, { upTo: 10 })
    assert.deepEqual(counts(some), counts(await scene.engine.stats(scene.queue)))
    assertAtLeast(some.oldestReadyMs, 0, 'oldestReadyMs')
    assertAtLeast(some.nextDueMs, 1, 'nextDueMs')
  },

  'figures of a part of the messages say so, and count all as far as is known': async (scene) => {
    await scene.claim({ limit: 1, ids: [(await scene.sendMany(1))[0]!] })
    await scene.sendMany(9)
    const {
      isEstimate = false,
      ready,
      leased,
      delayed,
      totalSent,
      oldestReadyMs,
    } = await scene.engine.stats(scene.queue, { upTo: 3 })
    assert.deepEqual({ leased, delayed }, { leased: 1, delayed: 0 })
    if (isEstimate) assert(ready >= 3 && ready <= 9)
    else assert.equal(ready, 9)
    assert(totalSent >= 10)
    assertAtLeast(oldestReadyMs, 0, 'oldestReadyMs')
    assert.equal((await scene.engine.stats(scene.queue)).ready, 9)
  },

  'archived messages have no age': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    const { oldestReadyMs, oldestMs, newestMs, archived } = await scene.engine.stats(scene.queue)
    assert.deepEqual(
      { oldestReadyMs, oldestMs, newestMs, archived },
      { oldestReadyMs: null, oldestMs: null, newestMs: null, archived: 1 },
    )
  },
})
