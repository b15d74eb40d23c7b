import assert from 'node:assert/strict'
import pg from 'pg'
import { describe, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { openBus } from '../support/storages.ts'
import { offsets, Watcher } from './support.ts'

describe('a message that is published in a transaction', () => {
  test('is there when it commits, in the order of commits', async () => {
    const bus = await openBus(await sharedServer('postgres18'))
    const news = bus.topic(newName('transactions'))
    const watcher = new Watcher()
    const got: unknown[] = []
    news.subscribe('payroll', ({ data }) => void got.push(data), { from: 'earliest', observe: watcher.observe })
    const client = new pg.Client({ connectionString: await sharedServer('postgres18') })
    await client.connect()
    try {
      await client.query('BEGIN')
      assert.deepEqual(await news.publish('late', { tx: client }), { offset: null, duplicate: false })
      await news.publish('early')
      await watcher.until('succeeded')
      await client.query('COMMIT')
      await client.query('BEGIN')
      await news.publishBatch([{ data: 'never' }], { tx: client })
      await client.query('ROLLBACK')
    } finally {
      await client.end()
    }
    await watcher.until('succeeded', 2)
    assert.deepEqual(got, ['early', 'late'])
    assert.deepEqual(offsets(await news.read()), [1, 2])
  })
})
