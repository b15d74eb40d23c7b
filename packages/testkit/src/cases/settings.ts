import assert from 'node:assert/strict'
import { isTidingsError } from 'tidings/internal/core/errors'
import { group } from '../group.ts'
import { assertRejects, idsOf, listen, long, only, patiently } from '../scene.ts'

const pause = (reason: string, until: string | null = null) => ({
  until,
  reason,
  by: null,
  since: '2020-01-01T00:00:00.000Z',
})

export const settings = group('settings', {
  'a setting is replaced as a whole, and taken away by null': async ({ engine, queue }) => {
    assert.equal(only(await engine.describe(queue)).settings, undefined)
    const first = { pause: pause("it's 'ä' \u2028 $1 \\") }
    assert.deepEqual(await engine.configure(queue, first), first)
    assert.deepEqual(await engine.configure(queue, {}), first)
    const second = { pause: pause('another') }
    assert.deepEqual(await engine.configure(queue, second), second)
    assert.deepEqual(only(await engine.describe(queue)).settings, second)
    assert.deepEqual(await engine.configure(queue, { pause: null }), {})
    assert.equal(only(await engine.describe(queue)).settings, undefined)
  },

  'settings are listed with their queues': async ({ engine, queue }) => {
    await engine.configure(queue, { pause: pause('listed') })
    const listed = (await engine.describe(null)).filter((one) => one.queue === queue)
    assert.deepEqual(only(listed).settings, { pause: pause('listed') })
  },

  'a change is told to those who listen, and wakes them': async ({ engine, queue }) => {
    const told = new Set<unknown>()
    let tell = (_: unknown) => {}
    const listening = await listen(
      engine,
      (_, dueMs) => tell(dueMs),
      () => tell('changed'),
    )
    await listening.listen([`queue:${queue}`])
    const both = new Promise<void>((resolve) => {
      tell = (what) => void (told.add(what).has('changed') && told.has(0) && resolve())
    })
    await engine.configure(queue, { pause: pause('told') })
    await both
    await listening.close()
  },

  'settings are gone with their queue': async ({ engine, queue }) => {
    await engine.configure(queue, { pause: pause('gone') })
    await engine.purgeQueue(queue)
    assert.deepEqual(only(await engine.describe(queue)).settings, { pause: pause('gone') })
    await engine.dropQueue(queue)
    await assertRejects(engine.configure(queue, {}), 'QUEUE_NOT_FOUND', 'configure')
    await engine.createQueue(queue)
    assert.equal(only(await engine.describe(queue)).settings, undefined)
  },

  'a paused queue hands out nothing, and all else goes on': async (scene) => {
    const { engine, queue } = scene
    const leased = await scene.lease()
    const [waiting] = await scene.send({})
    await engine.configure(queue, { pause: pause('for good') })
    const sent = await scene.send({}, { orderingKey: 'k' })
    assert.equal(await scene.nextDueMs(), null)
    assert.deepEqual(await engine.claim(queue, { limit: 1, leaseMs: long, ids: [waiting] }), {
      messages: [],
      nextDueMs: null,
    })
    assert.deepEqual(await engine.pop(queue, 10), [])
    assert.equal((await scene.peek()).length, 4)
    assert(await scene.delete(leased))
    await engine.configure(queue, { pause: null })
    assert.deepEqual(idsOf(await scene.claim({ limit: 10 })).sort(), [waiting, ...sent].sort())
  },

  'a pause that has an end says when, and ends by itself': async (scene) => {
    const { engine, queue } = scene
    const [id] = await scene.send({})
    const until = async (ms: number) => new Date((await scene.now()) + ms).toISOString()
    await engine.configure(queue, { pause: pause('for long', await until(long)) })
    const dueMs = await scene.nextDueMs()
    assert(dueMs !== null && dueMs > 0 && dueMs <= long + 5_000, `in ${dueMs} ms`)
    await patiently(async (milliseconds) => {
      const end = await until(milliseconds)
      try {
        await engine.configure(queue, { pause: pause('for short', end) })
      } catch (error) {
        // It came to the storage after that time.
        if (isTidingsError(error, 'RANGE')) return false
        throw error
      }
      await scene.passTime(milliseconds)
      return true
    })
    assert.deepEqual(idsOf(await scene.claimSoon()), [id])
  },
})
