import assert from 'node:assert/strict'
import { group } from '../group.ts'
import { archive, idsOf, long, release, short } from '../scene.ts'

export const upkeep = group('upkeep', {
  'an engine has a name and declares its features': async (scene) => {
    assert(scene.engine.name.length > 0)
    assert.deepEqual([...scene.engine.supports].sort(), [...scene.harness.supports].sort())
  },

  'upkeep changes nothing that can be seen': async (scene) => {
    await scene.settle(await scene.lease(), archive())
    await scene.settle(await scene.lease({ meta: { m: 1 } }), release({ delayMs: long }))
    await scene.lease()
    await scene.send({}, { delayMs: long }, { orderingKey: 'k' }, { orderingKey: 'k' })
    const look = async () => [await scene.peek(), await scene.peek({ place: 'archived' })]
    const before = await look()
    await scene.engine.maintain({ kind: 'due' })
    assert.deepEqual(await look(), before)
    assert.equal(before[0]?.length, 6)
  },

  'upkeep leaves due messages to be read': async (scene) => {
    const ids = await scene.send({ delayMs: short }, {}, { delayMs: short, orderingKey: 'k' })
    await scene.engine.maintain({ kind: 'due' })
    await scene.passTime(short)
    await scene.engine.maintain({ kind: 'due' })
    assert.deepEqual(idsOf(await scene.claim()), ids)
  },

  'upkeep runs at any time and by many at once': async (scene) => {
    const ids = await scene.sendMany(20)
    const [, claimed] = await Promise.all([
      Promise.all([1, 2, 3].map(() => scene.engine.maintain({ kind: 'due' }))),
      scene.claim({ limit: 20 }),
    ])
    assert.deepEqual(idsOf(claimed), ids)
  },

  'findings say what to do': async (scene) => {
    const findings = await scene.engine.diagnose()
    assert(findings.length > 0, 'something was looked at')
    for (const { level, check, message, remedy } of findings) {
      assert(['ok', 'warning', 'problem'].includes(level), level)
      assert(check !== '' && message !== '', 'a finding names what was looked at and what was found')
      assert(level === 'ok' || remedy !== '', `${check} has a remedy`)
    }
  },
})
