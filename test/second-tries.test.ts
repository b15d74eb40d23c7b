import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { test } from 'vitest'

const root = join(import.meta.dirname, 'second-tries')
const vitest = join(import.meta.dirname, '../node_modules/vitest/vitest.mjs')

test('a run ends with what passed only at the second try', async () => {
  const run = (...files: string[]) =>
    promisify(execFile)(process.execPath, [vitest, 'run', '--root', root, ...files], { encoding: 'utf8' })
  const [{ stdout }, quiet] = await Promise.all([run(), run('fails-never')])
  assert.equal(
    stdout,
    `Passed only at the second try:
  fails-once.ts > a group > that fails once
    the first line
    and the next
    at fails-once.ts:6:29

`,
  )
  assert.equal(quiet.stdout, '')
})
