import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { connect } from 'tidings'
import { expect, onTestFinished, test } from 'vitest'
import { tidings, useDatabase } from './support.ts'

let url: string
useDatabase((own) => {
  url = own
})

test('lists who works on the storage', async () => {
  assert.equal((await tidings(['processes', '--url', url])).stdout, 'no processes\n')
  const bus = await connect(url)
  onTestFinished(() => bus.close())
  await bus.queue('reports').send(1)
  await new Promise<void>((resolve) => bus.queue('reports').work(() => resolve()))
  const { code, stdout } = await tidings(['processes', '--url', url])
  assert.equal(code, 0)
  const [title, row, ...others] = stdout.trimEnd().split('\n')
  assert.match(title!, /^HOST +PID +VERSION +SINCE +TOKEN +QUEUES$/)
  assert.deepEqual(row!.split(/ +/).toSpliced(2, 2), [hostname(), String(process.pid), '-', 'reports'])
  assert.deepEqual(others, [])
  const json = JSON.parse((await tidings(['processes', '--url', url, '--json'])).stdout)
  expect(json).toMatchObject([{ host: hostname(), pid: process.pid, queues: ['reports'] }])
})
