import { describe, expect, it } from 'vitest'
import { tidings, useDatabase } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})
const run = (...args: string[]) => tidings(args, { env })

describe('correlation', () => {
  it('shows how far the tasks are', async () => {
    const flags = ['--correlation-id', 'hired-17', '--correlation-queue', 'told', '--track']
    for (const queue of ['accounts', 'badges']) await run('enqueue', queue, '1', ...flags)
    await run('pop', 'badges')
    const { code, stdout } = await run('correlation', 'hired-17')
    expect(code).toBe(0)
    expect(stdout.replaceAll(/20\d\d-\S+Z/g, 'TIME')).toBe(`hired-17: 1 of 2 tasks left; started TIME

QUEUE     PENDING  RUNNING  DONE  DEAD  CANCELLED
accounts        1        0     0     0          0
badges          0        0     1     0          0
together        1        0     1     0          0
`)
    await run('pop', 'accounts')
    const ended = await run('correlation', 'hired-17', '--json')
    expect(JSON.parse(ended.stdout)).toMatchObject({
      id: 'hired-17',
      done: 2,
      total: 2,
      completedAt: expect.stringMatching(/Z$/),
      queues: [{ queue: 'accounts' }, { queue: 'badges' }],
    })
    expect((await run('correlation', 'hired-17')).stdout).toMatch(
      /^hired-17: 2 tasks, none left; started .*, completed /,
    )
    expect(JSON.parse((await run('peek', 'told', '--json')).stdout)).toMatchObject([{ data: { done: 2 } }])
  })

  it('shows what it has told of, as the sender wished', async () => {
    const flags = [
      '--correlation-id',
      'hired-18',
      '--correlation-queue',
      'told-18',
      '--track',
      '--tell',
      'allDone',
      'anyFailed',
    ]
    await run('enqueue', 'desks', '1', ...flags)
    await run('pop', 'desks')
    const { stdout } = await run('correlation', 'hired-18')
    expect(stdout).toMatch(/^hired-18: 1 task, none left; started \S+, completed \S+, all done \S+\n/)
    expect(JSON.parse((await run('peek', 'told-18', '--json')).stdout)).toMatchObject([
      { data: { milestone: 'allDone' } },
    ])
    const wrong = await run('enqueue', 'desks', '1', ...flags, 'allWell')
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("'anyFailed' or 'allDone' or 'allEnded'")])
  })

  it('says so when there are none', async () => {
    const nothing = 'no tracked messages have the correlation id unknown\n'
    expect(await run('correlation', 'unknown')).toEqual({ code: 0, stdout: nothing, stderr: '' })
    expect(await run('correlation', 'unknown', '--json')).toEqual({ code: 0, stdout: 'null\n', stderr: '' })
  })

  it('needs a correlation id to track', async () => {
    expect(await run('enqueue', 'accounts', '1', '--track')).toMatchObject({
      code: 2,
      stderr: "error: 'track' is set without meta.correlationId\nhint: Set meta.correlationId too.\n",
    })
  })
})
