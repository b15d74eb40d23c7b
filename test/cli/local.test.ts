import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installRedis } from '../local/support.ts'
import { folder, tidings } from './support.ts'

describe('the local PostgreSQL', () => {
  const cwd = join(folder, 'project')
  mkdirSync(cwd)
  const run = (...args: string[]) => tidings(args, { cwd })
  afterAll(() => run('local', 'stop'))

  it('is shown, started by the first command that needs it, and stopped', async () => {
    expect(await run('local', 'status')).toEqual({
      code: 0,
      stdout: `no local PostgreSQL in ${cwd}/.tidings\n`,
      stderr: '',
    })
    expect(await run('local', 'stop')).toEqual({ code: 0, stdout: 'nothing was running\n', stderr: '' })
    expect(await run('enqueue', 'hires', '{"name":"Ada"}')).toEqual({
      code: 0,
      stdout: 'enqueued message 1 in hires\n',
      stderr: 'storage: local:.tidings, the local PostgreSQL, since nothing names another\n',
    })
    expect((await run('local', 'status')).stdout).toMatch(
      /^state {6}running for \d+s\nversion {4}18\.\d+\ndirectory {2}\S+\ndata {7}\S+\nsize {7}\d+ MB\npid {8}\d+\npsql {7}psql --host \S+ --port \d+ --username tidings\nlog {8}\S+\n$/,
    )
    expect((await run('doctor')).stdout).toMatch(
      /^storage: local:\.tidings \(from the default\)\nok {7}version: PostgreSQL 18/,
    )
    expect((await run('local', 'stop')).stdout).toBe('stopped the PostgreSQL in .tidings\n')
    expect(JSON.parse((await run('local', 'status', '--json')).stdout)).toMatchObject({ state: 'stopped', pid: null })
    expect((await run('local', 'start')).stdout).toMatch(/^PostgreSQL 18\.\d+ runs in \S+ \(pid \d+\)\n$/)
    expect((await run('pop', 'hires', '--json')).stdout).toContain('"name":"Ada"')
  })
})

describe('a local Redis', () => {
  const cwd = join(folder, 'redis-project')
  mkdirSync(cwd)
  const url = ['--url', 'redis+local:./queues']
  let env: Record<string, string>
  const run = (...args: string[]) => tidings(args, { cwd, env })
  beforeAll(async () => {
    env = { PATH: await installRedis() }
  })
  afterAll(() => run('local', 'stop', ...url))

  it('is shown, started by the first command that needs it, and stopped', async () => {
    expect((await run('local', 'status', ...url)).stdout).toBe(`no local Redis in ${cwd}/queues\n`)
    expect(await run('enqueue', 'hires', '{"name":"Ada"}', ...url)).toMatchObject({ code: 0, stderr: '' })
    expect((await run('local', 'status', ...url)).stdout).toMatch(
      /^state {6}running for \d+s\nredis {6}7\.\S+\ndirectory {2}\S+\ndata {7}\S+\nsize {7}\d+ MB\npid {8}\d+\nredis-cli {2}redis-cli -s \S+\nlog {8}\S+\n$/,
    )
    expect((await run('local', 'stop', '--dir', 'queues')).stdout).toBe('stopped the Redis in queues\n')
    expect((await run('local', 'start', '--dir', 'queues')).stdout).toMatch(/^Redis 7\.\S+ runs in \S+ \(pid \d+\)\n$/)
    expect((await run('pop', 'hires', '--json', ...url)).stdout).toContain('"name":"Ada"')
  })

  it('that is not shared, or not local, cannot be started', async () => {
    for (const other of ['redis+local:', 'redis://localhost'])
      expect(await run('local', 'start', '--url', other)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('names no local server'),
      })
    expect(await run('local', 'start', '--dir', 'queues', ...url)).toMatchObject({ code: 2 })
  })
})
