import { connect } from 'tidings'
import { expect, onTestFinished, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, query } from './support.ts'

test('a server that only reads shows the history', async () => {
  const { url, drop } = await migratedDatabase(await sharedServer('postgres18'))
  onTestFinished(drop)
  const writer = await connect(url)
  await writer.queue('orders').send(1)
  await writer.queue('orders').pop()
  await writer.close()
  await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET default_transaction_read_only = on`)
  const reader = await connect(url)
  onTestFinished(() => reader.close())
  const { points } = await reader.queue('orders').history()
  expect(points.reduce((sum, { done }) => sum + done, 0)).toBe(1)
  await expect(reader.engine.history.writer!.begin()).rejects.toMatchObject({ code: 'STORAGE_READ_ONLY' })
})
