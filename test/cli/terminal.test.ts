import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { folder, spawned, tidings, useDatabase, write } from './support.ts'

const main = fileURLToPath(new URL('../../packages/cli/dist/main.js', import.meta.url))

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})

/** Runs a command at a terminal of its own (`script` of util-linux makes one) and types the answer when asked. */
function atTerminal(args: string, answer: string): Promise<{ code: number | null; screen: string }> {
  const command = `'${process.execPath}' '${main}' ${args}`
  const { PATH = '', HOME = '' } = process.env
  const child = spawn('sh', ['-c', 'exec script -qec "$0" /dev/null', command], {
    cwd: folder,
    env: { PATH, HOME, NO_COLOR: '1', TERM: 'xterm', ...env },
  })
  let screen = ''
  let answered = false
  child.stdout.on('data', (chunk) => {
    screen += chunk
    if (answered || !screen.includes('[y/N] ')) return
    answered = true
    child.stdin.write(answer)
  })
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, screen: stripVTControlCharacters(screen).replaceAll('\r\n', '\n') })),
  )
}

describe.runIf(process.platform === 'linux')('at a terminal', () => {
  it('asks before anything is lost', async () => {
    await tidings(['enqueue', 'asked', '1'], { env })
    const no = await atTerminal('queue drop asked', 'n\n')
    expect(no.code).toBe(1)
    expect(no.screen).toContain('Remove queue asked with 1 message and 0 archived ones? [y/N] ')
    expect(no.screen).toMatch(/nothing was changed\n$/)
    const yes = await atTerminal('queue drop asked', 'y\n')
    expect(yes.code).toBe(0)
    expect(yes.screen).toMatch(/removed queue asked\n$/)
  })

  it('shows dead letters before they are sent again', async () => {
    write('failing/bad.mjs', 'export const handle = () => { throw new Error("no luck") }')
    await tidings(['enqueue', 'bad', '{"n":1}'], { env })
    await spawned(['process', '--handlers', 'failing', '--once', '--max-attempts', '1'], { env })
    const { code, screen } = await atTerminal('dead-letters redrive bad', 'y\n')
    expect(code).toBe(0)
    expect(screen).toMatch(
      /^ID +FAILED +ATTEMPTS +ERROR +DATA\n1 +\d+s ago +1 +no luck +\{"n":1\}\nSend 1 dead letter of queue bad again\?/,
    )
    expect(screen).toMatch(/sent 1 dead letter of queue bad again\n$/)
    const { stdout } = await tidings(['queue', 'status', 'bad', '--json'], { env })
    expect(JSON.parse(stdout)).toMatchObject({ ready: 1, deadLetters: 0 })
  })

  it('draws a progress bar while a file is sent', async () => {
    write('bar.jsonl', Array.from({ length: 5_000 }, (_, n) => `${n}\n`).join(''))
    const { code, screen } = await atTerminal('enqueue bar --file bar.jsonl', '')
    expect(code).toBe(0)
    expect(screen).toMatch(/\[#+-*\] {1,3}\d+ % {2}[\d,]+ messages/)
    expect(screen.endsWith('enqueued 5,000 messages in bar\n')).toBe(true)
  })
})

describe('redriving', () => {
  it('is previewed with --dry-run, limited by id, and needs --yes where nobody can be asked', async () => {
    const run = (...args: string[]) => tidings(['dead-letters', ...args], { env })
    write('refusing/refused.mjs', 'export const handle = () => { throw new Error("no luck") }')
    for (const n of [1, 2]) await tidings(['enqueue', 'refused', String(n)], { env })
    await spawned(['process', '--handlers', 'refusing', '--once', '--max-attempts', '1'], { env })
    expect((await run('redrive', 'refused', '--dry-run')).stdout).toBe(
      'would send 2 dead letters of queue refused again\n',
    )
    const refused = await run('redrive', 'refused')
    expect(refused.code).toBe(2)
    expect(refused.stderr).toMatch(
      /^ID .*error: not done without an answer: Send 2 dead letters of queue refused again\?\n/s,
    )
    const [first] = JSON.parse((await run('list', 'refused', '--json')).stdout)
    expect(await run('redrive', 'refused', '--id', first.id, '--yes', '--json')).toEqual({
      code: 0,
      stdout: `[{"deadLetterId":"${first.id}","id":"3"}]\n`,
      stderr: '',
    })
    expect(JSON.parse((await run('list', 'refused', '--json')).stdout)).toHaveLength(1)
    expect(await run('list', 'nothing')).toMatchObject({ code: 0, stdout: 'queue nothing has no dead letters\n' })
  })
})
