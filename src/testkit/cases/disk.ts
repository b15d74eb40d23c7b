import assert from 'node:assert/strict'
import type { NewMessage, SendResult } from '../../engine.ts'
import { group } from '../group.ts'
import { assertRejects, dataOf, long, newMessage, type Scene, text } from '../scene.ts'

const onDisk = { durability: 'fsync' } as const

const send = (scene: Scene, ...messages: Partial<NewMessage>[]): Promise<SendResult[]> =>
  scene.engine.send(scene.queue, messages.map(newMessage), null)

const stored = group(
  'durability',
  {
    'what has to be on disk is stored like everything else': async (scene) => {
      const dedup = { id: 'd', windowMs: long }
      const batch = [
        text('plain'),
        { ...text('on disk'), ...onDisk, dedup },
        { ...text('late'), ...onDisk, delayMs: long },
      ]
      const results = await send(scene, ...batch)
      assert.deepEqual(
        results.map(({ duplicate }) => duplicate),
        [false, false, false],
      )
      assert.deepEqual(await send(scene, { ...onDisk, dedup }), [{ id: results[1]!.id, duplicate: true }])
      assert.deepEqual(dataOf(await scene.claim()), ['plain', 'on disk'])
    },
  },
  { needs: ['durable'] },
)

const refused = group(
  'disk',
  {
    'where there is no disk, what has to be on it is refused with its batch': async (scene) => {
      const sending = send(scene, text('plain'), { ...text('on disk'), ...onDisk })
      await assertRejects(sending, 'DURABILITY_UNAVAILABLE', 'send')
      assert.deepEqual(await scene.peek(), [])
    },

    'what is refused for want of a disk takes no dedup id, no target and no task': async (scene) => {
      const tracked = { correlationId: scene.queue, completionQueue: null }
      const claimed = { dedup: { id: 'd', windowMs: long }, uniqueTarget: 't', tracked }
      await assertRejects(send(scene, { ...claimed, ...onDisk }), 'DURABILITY_UNAVAILABLE', 'send')
      assert.equal(await scene.engine.correlation(scene.queue), null)
      assert.equal((await send(scene, claimed))[0]!.duplicate, false)
    },
  },
  { lacks: ['durable'] },
)

export const disk = [...stored, ...refused]
