import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { assertRejects, dataOf, listen, long, move, newMessage, release, text, waits } from '../scene.ts'

const now = (dueMs: number) => dueMs === 0
const later = (dueMs: number) => dueMs > 0

export const watching = group('watching', {
  'a send wakes, and the message is there': async (scene) => {
    const wakes = await scene.watch()
    wakes.clear()
    await scene.send(text('news'))
    await wakes.next(async (dueMs) => now(dueMs) && (await scene.peek()).length === 1)
    assert.deepEqual(dataOf(await scene.claim()), ['news'])
  },

  'every send wakes': async (scene) => {
    const wakes = await scene.watch()
    for (let round = 0; round < 5; round++) {
      wakes.clear()
      await scene.send({})
      await wakes.next(now)
    }
  },

  'a delayed message is announced with its time': async (scene) => {
    const wakes = await scene.watch()
    for (const delayMs of waits) {
      wakes.clear()
      await scene.send({ delayMs })
      const dueMs = await wakes.next(later)
      assert(dueMs <= delayMs, `in ${dueMs} ms`)
    }
  },

  'a batch announces ready and delayed messages': async (scene) => {
    const wakes = await scene.watch()
    wakes.clear()
    await scene.send({ delayMs: 10 * long }, {}, { delayMs: long })
    await wakes.next(now)
    await wakes.next((dueMs) => later(dueMs) && dueMs <= long)
  },

  'giving back wakes': async (scene) => {
    const leased = await scene.lease()
    const wakes = await scene.watch()
    wakes.clear()
    await scene.settle(leased, release())
    await wakes.next(now)
    assert.equal((await scene.claimOne()).id, leased.id)
  },

  'giving back with a delay announces the time': async (scene) => {
    const leased = await scene.lease()
    const wakes = await scene.watch()
    wakes.clear()
    await scene.settle(leased, release({ delayMs: long }))
    assert((await wakes.next(later)) <= long)
  },

  'a message that is moved wakes where it arrives': async (scene) => {
    const other = await scene.newQueue()
    const leased = await scene.lease()
    const wakes = await scene.watch(other)
    wakes.clear()
    await scene.settle(leased, move(other))
    await wakes.next(now)
    assert.equal((await scene.claim({}, other)).length, 1)
  },

  'the end of a message wakes for the next of its key': async (scene) => {
    const leased = await scene.lease({ orderingKey: 'k' })
    await scene.send({ orderingKey: 'k' })
    const wakes = await scene.watch()
    wakes.clear()
    await scene.delete(leased)
    await wakes.next(now)
    await scene.claimOne()
  },

  'cancelling wakes for the next of its key': async (scene) => {
    const [first] = await scene.send({ orderingKey: 'k', delayMs: long }, { orderingKey: 'k' })
    const wakes = await scene.watch()
    wakes.clear()
    await scene.engine.cancel(scene.queue, [first])
    await wakes.next(now)
    await scene.claimOne()
  },

  'all watches of a queue are woken': async (scene) => {
    const both = [await scene.watch(), await scene.watch()]
    for (const wakes of both) wakes.clear()
    await scene.send({})
    for (const wakes of both) await wakes.next(now)
  },

  'queues are watched one by one': async (scene) => {
    const other = await scene.newQueue()
    const [here, there] = [await scene.watch(), await scene.watch(other)]
    for (const queue of [scene.queue, other]) {
      const wakes = queue === other ? there : here
      wakes.clear()
      await scene.sendTo(queue, {})
      await wakes.next(now)
    }
  },

  'a closed watch is silent': async (scene) => {
    const [closed, open] = [await scene.watch(), await scene.watch()]
    closed.watch.close()
    closed.watch.close()
    closed.clear()
    open.clear()
    await scene.send({})
    await open.next(now)
    assert.equal(closed.count, 0)
  },

  'closing one watch leaves the others': async (scene) => {
    for (let round = 0; round < 3; round++) {
      const wakes = await scene.watch()
      wakes.clear()
      await scene.send({})
      await wakes.next(now)
      wakes.watch.close()
    }
    const wakes = await scene.watch()
    wakes.clear()
    await scene.send({})
    await wakes.next(now)
  },

  'a reader that waits for wakes gets every message': async (scene) => {
    const wakes = await scene.watch()
    const total = 50
    const received = new Set<string>()
    const reading = wakes.next(async () => {
      for (const message of await scene.pop(10)) received.add(message.id)
      // Only a full pop leaves something behind that no wake announces.
      while ((await scene.peek({ place: 'ready', limit: 1 })).length > 0)
        for (const message of await scene.pop(10)) received.add(message.id)
      return received.size === total
    })
    for (let sent = 0; sent < total; sent++) await scene.engine.send(scene.queue, [newMessage({})], null)
    await reading
  },

  'a watch can be closed after its engine': async (scene) => {
    const wakes = await scene.watch()
    await scene.engine.close()
    wakes.watch.close()
  },

  'a missing queue cannot be watched': async (scene) => {
    await assertRejects(scene.watch(scene.newName()), 'QUEUE_NOT_FOUND', 'watch')
  },

  'one connection tells of each queue, beside one that is refused': async (scene) => {
    const [other, missing] = [await scene.newQueue(), scene.newName()]
    const heard: string[] = []
    let wake = () => {}
    const listening = await listen(scene.engine, (interest) => {
      heard.push(interest)
      wake()
    })
    const next = async (interest: string) => {
      while (!heard.includes(interest))
        await new Promise<void>((resolve) => {
          wake = resolve
        })
    }
    const refused = await listening.listen([`queue:${scene.queue}`, `queue:${missing}`])
    assert.deepEqual([...refused.keys()], [`queue:${missing}`])
    assert.equal((await listening.listen([`queue:${other}`, `queue:${scene.queue}`])).size, 0)
    for (const queue of [scene.queue, other, scene.queue]) {
      heard.length = 0
      await scene.sendTo(queue, {})
      await next(`queue:${queue}`)
    }
    listening.unlisten([`queue:${scene.queue}`])
    heard.length = 0
    await scene.send({})
    await scene.sendTo(other, {})
    await next(`queue:${other}`)
    assert(!heard.includes(`queue:${scene.queue}`), 'what is not listened to any more is not told')
    assert.equal((await listening.listen([`queue:${scene.queue}`])).size, 0)
    heard.length = 0
    await scene.send({})
    await next(`queue:${scene.queue}`)
    await listening.close()
  },

  'nothing is listened to after the engine was closed': async (scene) => {
    const listening = await listen(scene.engine, () => {})
    await scene.engine.close()
    await assertRejects(listening.listen([`queue:${scene.queue}`]), 'CLOSED', 'listen')
    await listening.close()
  },
})
