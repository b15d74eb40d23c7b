import assert from 'node:assert/strict'
import { test } from 'vitest'
import { tidings, useDatabase } from './support.ts'

let url: string
useDatabase((own) => {
  url = own
})

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await tidings(['schedule', ...args, '--url', url])
  assert.equal(code, 0, stderr)
  return stdout
}

const json = async (...args: string[]) => JSON.parse(await run(...args, '--json'))

async function refused(...args: string[]): Promise<[exit: number | null, code: string, hint: string]> {
  const { code, stdout, stderr } = await tidings(['schedule', ...args, '--url', url, '--json'])
  assert.equal(stdout, '')
  const error = JSON.parse(stderr)
  return [code, error.code, error.hint]
}

test('add, list, next, run, disable, enable, remove', async () => {
  const nightly = ['nightly', '0 2 * * *', '--timezone', 'Europe/Berlin', '--queue', 'reports', '{}']
  assert.deepEqual((await refused('add', ...nightly)).slice(0, 2), [1, 'QUEUE_NOT_FOUND'])
  assert.equal(await run('list'), 'no schedules yet\n')
  await tidings(['queue', 'create', 'reports', '--url', url])

  assert.match(await run('add', ...nightly), /^schedule nightly: next at \S+ \(\S+ 02:00:00 Europe\/Berlin\), in /)
  const every = await json('add', 'poll', '--every', '30s', '--queue', 'reports', '--overlap', 'skip', '{"n":1}')
  assert.deepEqual([every.every, every.overlap, every.data], [30_000, 'skip', { n: 1 }])
  assert.match(await run('list'), /^SCHEDULE .*\nnightly +0 2 \* \* \* Europe\/Berlin +reports .*\npoll +every 30s /)

  const { next, timezone } = await json('next', 'nightly', '--count', '3')
  assert.equal(next.length, 3)
  assert.equal(timezone, 'Europe/Berlin')
  const shown = (await run('next', 'nightly')).trimEnd().split('\n')
  assert.equal(shown.length, 6)
  assert.match(shown[1]!, / 02:00:00 Europe\/Berlin\), in /)

  assert.equal(await run('run', 'poll'), 'sent a message of poll\n')
  assert.deepEqual(await json('run', 'poll'), { schedule: 'poll', sent: false })
  assert.equal(await run('disable', 'poll'), 'disabled poll\n')
  assert.deepEqual(await json('disable', 'poll'), { schedule: 'poll', enabled: false, changed: false })
  assert.match(await run('list'), / disabled /)
  assert.equal(await run('enable', 'poll'), 'enabled poll\n')
  assert.equal(await run('remove', 'poll'), 'removed schedule poll\n')
  assert.deepEqual(await refused('remove', 'nigthly'), [1, 'SCHEDULE_NOT_FOUND', "Did you mean 'nightly'?"])
})

test('what is wrong with a call is said, with its way out', async () => {
  assert.deepEqual((await refused('add', 'x', '0 0 30 2 *', '--queue', 'reports')).slice(0, 2), [2, 'SCHEDULE_NEVER'])
  const zone = await refused('add', 'x', '0 2 * * *', '--timezone', 'Europe/Berln', '--queue', 'reports')
  assert.deepEqual(zone, [2, 'TIMEZONE_UNKNOWN', "Did you mean 'Europe/Berlin'?"])
  assert.deepEqual((await refused('add', 'x', 'often', '--queue', 'reports')).slice(0, 2), [2, 'CRON_INVALID'])
  assert.deepEqual((await refused('add', 'x', '--every', '1m', '--limit', '0', '--queue', 'reports')).slice(0, 2), [
    2,
    'RANGE',
  ])
  assert.deepEqual((await refused('add', 'x', '--every', '1m', '* * * * *', '{}', '--queue', 'reports')).slice(0, 2), [
    2,
    'USAGE',
  ])
  assert.deepEqual((await refused('add', 'X', '--every', '1m', '--queue', 'reports')).slice(0, 2), [
    2,
    'SCHEDULE_NAME_INVALID',
  ])
})
