import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { dataOf, idsOf, only, type Scene, times } from '../scene.ts'

/** Nearly so many bytes, after a label. */
const sized = (label: string, bytes = 1_000) => ({ data: JSON.stringify(label.padEnd(bytes - 2, '.')) })
const labels = (messages: readonly { readonly data: string }[]) =>
  dataOf(messages).map((data) => String(data).replaceAll('.', ''))

const claimWithin = async (scene: Scene, maxBytes: number, limit = 100) => await scene.claim({ maxBytes, limit })

export const sizes = group('sizes', {
  'a claim takes no more bytes than are asked for, and the rest next time': async (scene) => {
    const ids = await scene.send(...times(10, (index) => sized(`${index}`)))
    const first = await claimWithin(scene, 3_900)
    assert(first.length === 2 || first.length === 3, `${first.length} messages`)
    assert.deepEqual(idsOf(first), ids.slice(0, first.length))
    for (const { readCount, meta, headers } of await scene.peek({ place: 'ready' }))
      assert.deepEqual([readCount, meta, headers], [0, {}, {}])
    assert.equal((await scene.peek({ place: 'ready' })).length, 10 - first.length)
    assert.deepEqual(idsOf(await scene.claim()), ids.slice(first.length))
  },

  'at least one message is taken': async (scene) => {
    const [first, second] = await scene.send(sized('a', 50_000), sized('b'))
    for (const id of [first, second]) assert.equal((await scene.claimOne({ maxBytes: 1 })).id, id)
    assert.deepEqual(await claimWithin(scene, 1), [])
  },

  'what fits is taken whole, and the limit holds': async (scene) => {
    const ids = await scene.send(...times(5, (index) => sized(`${index}`)))
    assert.deepEqual(idsOf(await claimWithin(scene, 1_000_000, 2)), ids.slice(0, 2))
    assert.deepEqual(idsOf(await claimWithin(scene, 1_000_000)), ids.slice(2))
  },

  'a message that is too big is not passed over': async (scene) => {
    await scene.send(sized('a'), sized('b', 50_000), sized('c'))
    assert.deepEqual(labels(await claimWithin(scene, 10_000)), ['a'])
    assert.deepEqual(labels(await claimWithin(scene, 10_000)), ['b'])
    assert.deepEqual(labels(await claimWithin(scene, 10_000)), ['c'])
  },

  'meta and headers count': async (scene) => {
    const field = { text: '.'.repeat(20_000) }
    await scene.send({ meta: field }, { headers: field }, {})
    for (let round = 0; round < 2; round++) assert.equal((await claimWithin(scene, 15_000)).length, 1)
  },

  'where more is ready a claim says so': async (scene) => {
    await scene.send(...times(4, (index) => sized(`${index}`)))
    const claim = (maxBytes: number) =>
      scene.engine.claim(scene.queue, { limit: 10, leaseMs: 60_000, ids: null, maxBytes })
    assert.equal((await claim(1)).nextDueMs, 0)
    const { nextDueMs } = await claim(1_000_000)
    assert(nextDueMs === null || nextDueMs > 0, `${nextDueMs}`)
  },

  'the urgent come first': async (scene) => {
    await scene.send(sized('low'), { ...sized('high'), priority: 5 }, { ...sized('middle'), priority: 3 })
    for (const label of ['high', 'middle', 'low']) assert.deepEqual(labels(await claimWithin(scene, 1_500)), [label])
  },

  'keys keep their order, and what was left out holds nobody up': async (scene) => {
    const keyed = ['a', 'b'].flatMap((orderingKey) => [1, 2].map((n) => ({ ...sized(orderingKey + n), orderingKey })))
    await scene.send(...keyed)
    const seen: string[] = []
    for (let round = 0; round < 4; round++) {
      const message = only(await scene.claimSoon({ maxBytes: 1_500 }))
      seen.push(...labels([message]))
      await scene.delete(message)
    }
    for (const key of ['a', 'b'])
      assert.deepEqual(
        seen.filter((label) => label.startsWith(key)),
        [`${key}1`, `${key}2`],
      )
  },
})
