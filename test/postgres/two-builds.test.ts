import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as tidings from 'tidings'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, queryAlone as query } from './support.ts'

const packageFolder = fileURLToPath(new URL('../../packages/tidings/', import.meta.url))
const builds: string[] = []

/** What a later release may bring. */
interface Changes {
  /** A text in its functions, by which the test knows them. */
  readonly mark: string
  readonly madeAt: string
  /** A further migration, and the oldest programs that work with it. */
  readonly migration?: { readonly sql: string; readonly oldestProgram: number }
}

/** A copy of the built package with changes, as another release would have them. */
async function build({ mark, madeAt, migration }: Changes): Promise<typeof tidings & { migrations: Migrator }> {
  const release = mkdtempSync(join(packageFolder, '.build-'))
  builds.push(release)
  // Of that name Node loads it, not Vite.
  const folder = join(release, 'dist')
  cpSync(join(packageFolder, 'dist'), folder, { recursive: true })
  const edit = (file: string, pattern: RegExp, to: string) => {
    const path = join(folder, 'engines/postgres', file)
    const text = readFileSync(path, 'utf8')
    if (!pattern.test(text)) throw new Error(`${file} has no ${pattern}`)
    writeFileSync(path, text.replace(pattern, to))
  }
  edit('sql.gen.js', /functionsMadeAt = ".+?"/, `functionsMadeAt = "${madeAt}"`)
  edit('sql.gen.js', /-- What a transaction of an application holds/, `-- ${mark}. One process does it at a time`)
  if (migration) {
    const entry = JSON.stringify({ name: `0099_${mark}`, sql: migration.sql })
    edit('sql.gen.js', /(export const migrations = \[[\s\S]*?\n)\]/, `$1,${entry}]`)
    edit('migrate.js', /oldestProgram = \d+;/, `oldestProgram = ${migration.oldestProgram};`)
  }
  const load = (file: string) => import(pathToFileURL(join(folder, file)).href)
  const { migrationsOf } = await load('connect.js')
  return { ...(await load('index.js')), migrations: migrationsOf }
}

type Migrator = typeof import('tidings/internal/connect').migrationsOf

describe.each(['postgres15', 'postgres18'] as const)('two builds beside each other on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let current: number

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    const { migrations } = await import('tidings/internal/engines/postgres/sql.gen')
    current = migrations.length
  })
  afterAll(async () => {
    for (const folder of builds.splice(0)) rmSync(folder, { recursive: true, force: true })
    await drop()
  })

  const markThere = async () => {
    const [row] = await query(
      url,
      "SELECT substring(prosrc FROM '-- (older|newer|compatible|broken)[.]') AS mark FROM pg_proc WHERE oid = 'tidings.maintain()'::regprocedure",
    )
    return row?.mark ?? null
  }

  /** What a program does all day. */
  async function use(program: typeof tidings): Promise<void> {
    const bus = await program.connect(url)
    try {
      const queue = bus.queue('jobs')
      await queue.send({ n: 1 }, { dedupId: `${Math.random()}`, orderingKey: 'k' })
      const worker = queue.work(() => {}, { maxMessages: 1 })
      await worker.finished
      await bus.engine.maintain({ kind: 'due' })
    } finally {
      await bus.close()
    }
  }

  test('functions are replaced by newer ones, never by older ones, however they connect', async () => {
    const older = await build({ mark: 'older', madeAt: '2100-01-01T00:00:00.000Z' })
    const newer = await build({ mark: 'newer', madeAt: '2100-01-02T00:00:00.000Z' })
    await use(older)
    expect(await markThere()).toBe('older')
    await use(newer)
    expect(await markThere()).toBe('newer')
    await use(older)
    expect(await markThere()).toBe('newer')
    await Promise.all(Array.from({ length: 8 }, (_, i) => use(i % 2 === 0 ? older : newer)))
    expect(await markThere()).toBe('newer')
  })

  test('a program runs beside a newer schema that says so, and goes back to its own functions on request', async () => {
    const older = await build({ mark: 'older', madeAt: '2100-01-01T00:00:00.000Z' })
    const compatible = await build({
      mark: 'compatible',
      madeAt: '2100-01-03T00:00:00.000Z',
      migration: { sql: 'ALTER TABLE tidings.queue ADD COLUMN later text', oldestProgram: current },
    })
    await use(compatible)
    await use(older)
    expect(await markThere()).toBe('compatible')

    const migrator = (await older.migrations(url))!
    await migrator.open()
    const plan = await migrator.plan({ down: true })
    expect(plan).toMatchObject({ from: current + 1, to: current + 1 })
    expect(plan.steps.length).toBeGreaterThan(0)
    expect(await markThere()).toBe('compatible')
    await migrator.apply({ down: true })
    expect(await markThere()).toBe('older')
    // There is nothing to go back from any more.
    expect((await migrator.plan({ down: true })).steps).toEqual([])
    await migrator.close()
    await use(older)
    expect(await markThere()).toBe('older')
    await use(compatible)
    expect(await markThere()).toBe('compatible')
  })

  test('a schema that it cannot work with refuses a program, with the versions that it needs', async () => {
    const broken = await build({
      mark: 'broken',
      madeAt: '2100-01-04T00:00:00.000Z',
      migration: { sql: 'SELECT 1', oldestProgram: current + 1 },
    })
    const older = await build({ mark: 'older', madeAt: '2100-01-01T00:00:00.000Z' })
    await query(url, 'DELETE FROM tidings.migration WHERE version > $1', [current])
    await use(broken)
    const refusal = {
      code: 'SCHEMA_NEWER',
      message: `the schema has version ${current + 1} and works with programs of version ${current + 1} or newer; this one is of version ${current}`,
    }
    await expect(older.connect(url)).rejects.toMatchObject(refusal)
    const migrator = (await older.migrations(url))!
    await migrator.open()
    await expect(migrator.apply({ down: true })).rejects.toMatchObject(refusal)
    await migrator.close()
    expect(await markThere()).toBe('broken')
  })
})
