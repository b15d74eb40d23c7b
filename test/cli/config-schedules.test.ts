import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'vitest'
import { folder, type RunSetting, Tidings, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})

const inFolder = (name: string): RunSetting => ({ cwd: join(folder, name), env })
const once = (name: string) => tidings(['process', '--once'], inFolder(name))
const listed = async () =>
  JSON.parse((await tidings(['schedule', 'list', '--json'], { env })).stdout).map(
    ({ name, owner }: { name: string; owner: string | null }) => `${name} of ${owner}`,
  )
const writeConfig = (name: string, config: object) => write(`${name}/tidings.config.json`, JSON.stringify(config))

test('process declares the schedules of the file; what it lists no more goes, those of others stay', async () => {
  for (const name of ['billing', 'shop'])
    write(`${name}/handlers/${name}_reports.mjs`, 'export const handle = () => {}')
  const nightly = { cron: '0 2 * * *', timezone: 'Europe/Berlin', queue: 'billing_reports' }
  writeConfig('billing', {
    owner: 'billing',
    schedules: { nightly, hourly: { every: '1h', queue: 'billing_reports' } },
  })
  writeConfig('shop', { owner: 'shop', schedules: { sweep: { every: '1h', queue: 'shop_reports' } } })
  const first = await once('billing')
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stderr + first.stdout, /^schedules of billing: nightly, hourly$/m)
  assert.equal((await once('shop')).code, 0)
  assert.deepEqual(await listed(), ['hourly of billing', 'nightly of billing', 'sweep of shop'])

  writeConfig('billing', { owner: 'billing', schedules: { nightly } })
  assert.equal((await once('billing')).code, 0)
  assert.deepEqual(await listed(), ['nightly of billing', 'sweep of shop'])
  writeConfig('billing', { owner: 'billing' })
  assert.equal((await once('billing')).code, 0)
  assert.deepEqual(await listed(), ['sweep of shop'])
  // A file that says nothing of schedules leaves them alone.
  writeConfig('shop', {})
  assert.equal((await once('shop')).code, 0)
  assert.deepEqual(await listed(), ['sweep of shop'])
})

test('sentinel declares them, too, and makes the queues that the file names', async () => {
  writeConfig('watch', {
    owner: 'watch',
    queues: { watched: {} },
    schedules: { ticks: { every: '1s', queue: 'watched' } },
  })
  const running = new Tidings(['sentinel'], inFolder('watch'))
  await running.until(/schedules of watch: ticks\n/)
  await running.until(/the sentinel is running/)
  assert.ok((await listed()).includes('ticks of watch'))
  running.child.kill('SIGTERM')
  assert.equal((await running.ended).code, 0)
})

test('a server that is the sentinel as well declares them, and says so in its log', async () => {
  writeConfig('server', {
    owner: 'server',
    queues: { served: {} },
    schedules: { tocks: { every: '1h', queue: 'served' } },
  })
  const running = new Tidings(['serve', '--port', '0', '--sentinel'], inFolder('server'))
  await running.until(/"msg":"schedules of server: tocks"/)
  await running.until(/"msg":"listening"/)
  assert.ok((await listed()).includes('tocks of server'))
  running.child.kill('SIGTERM')
  assert.equal((await running.ended).code, 0)
})

test('what cannot be declared is said with its place, and nothing is changed', async () => {
  const refused = async (schedules: object, more: object = {}) => {
    writeConfig('bad', { owner: 'bad', schedules, ...more })
    write('bad/handlers/bad_reports.mjs', 'export const handle = () => {}')
    const { code, stderr } = await tidings(['process', '--once', '--json'], inFolder('bad'))
    const error = JSON.parse(stderr)
    return [code, error.code, error.message]
  }
  const good = { every: '1h', queue: 'bad_reports' }
  assert.deepEqual(await refused({ good, typo: { every: '1h', queue: 'bad_report' } }), [
    1,
    'QUEUE_NOT_FOUND',
    "tidings.config.json: schedules.typo: queue 'bad_report' does not exist",
  ])
  await tidings(['queue', 'create', 'elsewhere'], { env })
  await tidings(['schedule', 'add', 'by_hand', '--every', '1h', '--queue', 'elsewhere'], { env })
  assert.deepEqual(await refused({ good, by_hand: good }), [
    1,
    'SCHEDULE_OWNED',
    "tidings.config.json: schedules.by_hand: schedule 'by_hand' was made by hand",
  ])
  const uncreated = await refused(
    { made: { every: '1h', queue: 'no_such' } },
    { queues: { no_such: { create: false } } },
  )
  assert.deepEqual(uncreated.slice(0, 2), [1, 'QUEUE_NOT_FOUND'])
  assert.ok(!(await listed()).some((line: string) => line.endsWith(' of bad')))

  writeConfig('bad', { owner: 'bad', schedules: { never: { cron: '0 0 30 2 *', queue: 'bad_reports' } } })
  const { code, stdout } = await tidings(['validate-config', '--json'], inFolder('bad'))
  assert.equal(code, 1)
  assert.equal(JSON.parse(stdout).problems[0].code, 'SCHEDULE_NEVER')
})

test('validate-config shows them', async () => {
  writeConfig('shown', { owner: 'shown', schedules: { nightly: { cron: '@daily', queue: 'reports', data: { n: 1 } } } })
  const { code, stdout } = await tidings(['validate-config'], inFolder('shown'))
  assert.equal(code, 0)
  assert.match(stdout, /^owner +shown$/m)
  assert.match(stdout, /^schedules\.nightly\.cron +@daily$/m)
  assert.match(stdout, /^schedules\.nightly\.data +\{"n":1\}$/m)
  const { settings } = JSON.parse((await tidings(['validate-config', '--json'], inFolder('shown'))).stdout)
  const data = settings.find(({ path }: { path: string }) => path === 'schedules.nightly.data')
  assert.deepEqual(data.value, { n: 1 })
})
