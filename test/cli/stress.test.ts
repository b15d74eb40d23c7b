import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { readHistories } from 'tidings-testkit/internal/stress/history'
import { describe, expect, it } from 'vitest'
import { storages } from '../support/storages.ts'
import { folder, ownDatabase, tidings } from './support.ts'

const short = ['--seconds', '4', '--seed', '7', '--kill-every', '1s', '--seek-every', '500ms', '--rate', '20']
const others = storages.filter(({ name }) => name !== 'PostgreSQL')

describe('stress', () => {
  it('finds a run with kills and seeks valid, and leaves nothing behind', { timeout: 300_000 }, async () => {
    const env = { DATABASE_URL: await ownDatabase() }
    const histories = join(folder, 'histories')
    const { code, stdout, stderr } = await tidings(['stress', ...short, '--json', '--history', histories], { env })
    expect(stderr).toMatch(/^seed 7: 4 queues and 3 topics; /)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ valid: true, engine: 'postgres', seed: 7, violations: [] })
    expect(code).toBe(0)
    expect(report.figures.kills).toBeGreaterThan(0)
    expect(report.figures.seeks).toBeGreaterThan(0)
    const entries = readHistories(readdirSync(report.history).map((name) => `${report.history}/${name}`))
    const handled = entries.filter((one) => one.event === 'settled' && one.as === 'succeeded')
    expect(handled.length).toBe(report.figures.handled)
    expect(handled.length).toBeGreaterThan(0)
    expect((await tidings(['queue', 'list', '--json'], { env })).stdout).toBe('[]\n')
    expect((await tidings(['topic', 'list', '--json'], { env })).stdout).toBe('[]\n')
  })

  it.each(others)('finds a run on $name valid', { timeout: 300_000 }, async ({ url }) => {
    const { code, stdout, stderr } = await tidings(['stress', ...short, '--json', '--url', await url()])
    expect(JSON.parse(stdout), stderr).toMatchObject({ valid: true, violations: [] })
    expect(JSON.parse(stdout).figures.kills).toBeGreaterThan(0)
    expect(code).toBe(0)
  })

  it('says why memory: is of no use', async () => {
    expect(await tidings(['stress', '--url', 'memory:'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^error: memory: belongs to one process, and stress needs several\nhint: Pass another/,
      ),
    })
  })

  it('names options that are out of bounds', async () => {
    expect(await tidings(['stress', '--seconds', '0'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--seconds is 0; it must be between 1 and 86400'),
    })
  })
})
