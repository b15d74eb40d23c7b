// The commands of docs/operating.md for a backup and its restore, run as they stand there.
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { connect } from 'tidings'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpackDebian } from '../support/debian.ts'
import { sharedServer } from '../support/shared-servers.ts'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'tidings-backup-'))
const server = await sharedServer('postgres15')
const names = ['shop', 'restored'].map((name) => `backup_${name}_${process.pid}_${Date.now()}`)
const [shop, restored] = names.map((name) => server.replace(/[^/]+$/, name)) as [string, string]

async function onServer(statement: (name: string) => string): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  for (const name of names) await client.query(statement(name))
  await client.end()
}
beforeAll(() => onServer((name) => `CREATE DATABASE ${name}`))
afterAll(async () => {
  rmSync(work, { recursive: true })
  await onServer((name) => `DROP DATABASE ${name} WITH (FORCE)`)
})

/** The block of commands below the heading, in a folder and with a PATH of its own. */
async function runBlock(heading: string): Promise<string> {
  const page = readFileSync(join(root, 'docs/operating.md'), 'utf8')
  const section = page.split(/^## /m).find((one) => one.startsWith(`${heading}\n`))!
  const commands = /^```sh\n([\s\S]*?)^```$/m.exec(section)![1]!
  const bin = 'usr/lib/postgresql/15/bin'
  const debian = await unpackDebian(['postgresql-client-15'], `${bin}/pg_dump`)
  const npx = join(work, 'npx')
  writeFileSync(npx, `#!/bin/sh\nshift\nexec "${process.execPath}" "${root}/packages/cli/dist/main.js" "$@"\n`)
  chmodSync(npx, 0o755)
  const env = {
    PATH: [work, join(debian.root, bin), process.env.PATH].join(':'),
    LD_LIBRARY_PATH: debian.libraryPath,
    DATABASE_URL: shop,
    RESTORED_URL: restored,
  }
  return (await execute('sh', ['-ec', commands], { cwd: work, env })).stdout
}

test('a dump that is restored holds messages, settings and topics, and goes on where it was', async () => {
  const before = await connect(shop)
  const hires = before.queue<number>('hires')
  const [first, , third] = await hires.sendBatch([1, 2, 3].map((data) => ({ data })))
  await hires.send(4, { delay: '30d' })
  await (await hires.readById(first!.id!))!.archive()
  await hires.readById(third!.id!, { lease: '1h' })
  await hires.configure({ maxLength: 100 })
  const news = before.topic<number>('news')
  await news.publish(1)
  await news.publish(2)
  await news.subscription('payroll').create({ from: 'earliest' })
  await news.subscription('payroll').ack(1)
  await before.bind('Orders.#', hires)
  const figures = ({ ready, leased, delayed, archived, totalSent }: Awaited<ReturnType<typeof hires.stats>>) => ({
    ...{ ready, leased, delayed, archived, totalSent },
  })
  const then = figures(await hires.stats())
  expect(then).toEqual({ ready: 1, leased: 1, delayed: 1, archived: 1, totalSent: 4 })
  await before.close()

  expect(await runBlock('Backup and restore')).toContain('PostgreSQL')

  await using after = await connect(restored)
  const again = after.queue<number>('hires')
  expect(figures(await again.stats())).toEqual(then)
  expect(await again.settings()).toEqual({ maxLength: 100 })
  expect((await after.topic('news').subscription('payroll').fetch()).map(({ data }) => data)).toEqual([2])
  expect(await after.topic('news').publish(3)).toMatchObject({ offset: 3 })
  await after.publish('Orders.1.Paid', 5)
  const messages = await again.read({ limit: 10 })
  expect(messages.map(({ id, data }) => [id, data])).toEqual([
    ['2', 2],
    ['5', 5],
  ])
  for (const message of messages) expect(await message.delete()).not.toBe(false)
})
