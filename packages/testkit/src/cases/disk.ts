import assert from 'node:assert/strict'
import type { NewMessage, SendResult } from 'tidings/internal/port/engine'
import { group } from '../group.ts'
import { assertRejects, dataOf, long, newMessage, type Scene, text } from '../scene.ts'

const sendToDisk = (scene: Scene, ...messages: Partial<NewMessage>[]): Promise<SendResult[]> =>
  scene.engine.send(scene.queue, messages.map(newMessage), null, { durability: 'fsync' })

const stored = group(
  'durability',
  {
    'a message that has to be on disk is stored like any other': async (scene) => {
      const dedup = { id: 'd', windowMs: long }
      const results = await sendToDisk(scene, text('plain'), { ...text('named'), dedup }, { delayMs: long })
      assert.deepEqual(
        results.map(({ duplicate }) => duplicate),
        [false, false, false],
      )
      assert.deepEqual(await sendToDisk(scene, { dedup }), [{ id: results[1]!.id, duplicate: true }])
      assert.deepEqual(dataOf(await scene.claim()), ['plain', 'named'])
    },
  },
  { needs: ['durable'] },
)

const refused = group(
  'disk',
  {
    'without a disk, a message that has to be on disk is refused': async (scene) => {
      await assertRejects(sendToDisk(scene, text('a'), text('b')), 'DURABILITY_UNAVAILABLE', 'send')
      assert.deepEqual(await scene.peek(), [])
    },

    'a message refused for want of a disk takes no dedup id, no target and no task': async (scene) => {
      const tracked = { correlationId: scene.queue, completionQueue: null }
      const claimed = newMessage({ dedup: { id: 'd', windowMs: long }, uniqueTarget: 't', tracked })
      await assertRejects(sendToDisk(scene, claimed), 'DURABILITY_UNAVAILABLE', 'send')
      assert.equal(await scene.engine.correlation(scene.queue), null)
      const [result] = await scene.engine.send(scene.queue, [claimed], null)
      assert.equal(result!.duplicate, false)
    },
  },
  { lacks: ['durable'] },
)

export const disk = [...stored, ...refused]
