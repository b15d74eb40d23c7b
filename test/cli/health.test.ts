import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startLine } from '../support/line.ts'
import { folder, Tidings, tidings, useDatabase, write } from './support.ts'

let database: string
useDatabase((own) => {
  database = own
})

/** Waits for the file that lets a handler go on; blocks the event loop meanwhile, or does not. */
const handler = (go: string, wait: string) => `import { existsSync } from 'node:fs'
  import { setTimeout as sleep } from 'node:timers/promises'
  export async function handle({ data }) {
    console.log('began ' + data)
    while (!existsSync(${JSON.stringify(join(folder, go))})) ${wait}
  }`

async function start(name: string, url = database, flag = '--health-port') {
  const command = new Tidings(['process', '--handlers', name, flag, '0', '--url', url])
  let said = ''
  command.child.stderr?.on('data', (chunk) => (said += chunk))
  await command.until(/^health: \S+$/m)
  const at = /^health: (\S+)$/m.exec(said)![1]!
  const ask = async (path: string) => {
    const answer = await fetch(at + path)
    return { status: answer.status, body: await answer.text() }
  }
  const isReady = (wanted: boolean) =>
    vi.waitUntil(async () => ((await ask('/readyz')).status === 200) === wanted, { timeout: 50_000, interval: 100 })
  return { command, at, ask, isReady }
}

describe('process --health-port', () => {
  it('is ready once the workers run, not while the storage is away, and live throughout', async () => {
    write('plain/plain.mjs', 'export const handle = () => {}')
    const line = await startLine(database)
    onTestFinished(() => line.close())
    line.slow(100)
    const { command, ask, isReady } = await start('plain', line.url)
    expect(await ask('/readyz')).toEqual({
      status: 503,
      body: '{"code":"STOPPED","message":"the workers do not run yet"}',
    })
    expect((await ask('/livez')).status).toBe(200)
    line.slow(Number.POSITIVE_INFINITY)
    await isReady(true)
    line.freeze('frozen')
    await isReady(false)
    expect(JSON.parse((await ask('/readyz')).body)).toEqual({ code: 'CONNECTION_LOST', message: expect.any(String) })
    expect(await ask('/livez')).toEqual({ status: 200, body: '{"status":"ok"}' })
    line.thaw()
    line.cut()
    await isReady(true)
    command.child.kill('SIGTERM')
    expect((await command.ended).code).toBe(0)
  })

  it('is not ready any more while it stops', async () => {
    write('slow/slow.mjs', handler('slow-go', 'await sleep(20)'))
    await tidings(['enqueue', 'slow', '1', '--url', database])
    const { command, ask, isReady } = await start('slow')
    await command.until(/began 1/)
    await isReady(true)
    command.child.kill('SIGTERM')
    await isReady(false)
    expect((await ask('/livez')).status).toBe(200)
    write('slow-go', '')
    expect((await command.ended).code).toBe(0)
  })

  it('does not answer while a handler blocks the event loop', async () => {
    write('blocking/blocking.mjs', handler('blocking-go', ';'))
    const { command, ask, isReady } = await start('blocking')
    await isReady(true)
    await tidings(['enqueue', 'blocking', '1', '--url', database])
    await command.until(/began 1/)
    const answer = ask('/livez').then(({ status }) => ({ status, wasLetGo: existsSync(join(folder, 'blocking-go')) }))
    await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 500))])
    write('blocking-go', '')
    expect(await answer).toEqual({ status: 200, wasLetGo: true })
  })

  it('counts what its workers do', async () => {
    write('counted/counted.mjs', `export const handle = ({ data }) => { if (data === 'bad') throw new Error('no') }`)
    for (const data of ['"good"', '"good"', '"bad"']) await tidings(['enqueue', 'counted', data, '--url', database])
    const { ask } = await start('counted', database, '--metrics-port')
    const metrics = await vi.waitUntil(
      async () => {
        const { body } = await ask('/metrics')
        return /counted",outcome="succeeded"\} 2\n/.test(body) && /outcome="failed"\} 1\n/.test(body) ? body : undefined
      },
      { timeout: 50_000 },
    )
    expect(metrics).toContain('tidings_worker_running{queue="counted"} 0\n')
    expect(metrics).toMatch(/messaging_client_consumed_messages_total\{.*destination_name="counted".*\} \d/)
    expect(metrics).toMatch(/messaging_process_duration_seconds_count\{.*destination_name="counted".*\} \d/)
    expect(metrics).toContain('nodejs_eventloop_lag_p99_seconds ')
    expect((await ask('/elsewhere')).status).toBe(404)
  })

  it('ends where the port cannot be had', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    const { port } = other.address() as AddressInfo
    const args = ['process', '--handlers', 'plain', '--health-port', String(port), '--url', 'memory:']
    const { code, stderr } = await tidings(args)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining(`error: --health-port: cannot listen on 127.0.0.1:${port}: `),
    })
  })
})
