import { execFile, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transformSync } from '@swc/wasm-typescript'
import pg from 'pg'
import { connect } from 'tidings'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { Engine, Feature } from 'tidings/internal/port/engine'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from './support/shared-servers.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const main = join(root, 'packages/cli/dist/main.js')

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

interface Block {
  readonly page: string
  readonly line: number
  readonly language: string
  readonly code: string
  /** Whether `<!-- run -->` stands before it. */
  readonly runs: boolean
}

/** The fenced blocks of a page. */
function blocksOf(page: string): Block[] {
  const lines = readFileSync(join(root, page), 'utf8').split('\n')
  const blocks: Block[] = []
  for (let start = 0; start < lines.length; start++) {
    const language = /^```(\w+)$/.exec(lines[start] as string)?.[1]
    if (language === undefined) continue
    const end = lines.indexOf('```', start)
    const before = lines.slice(0, start).findLast((line) => line !== '')
    const code = lines.slice(start + 1, end).join('\n')
    blocks.push({ page, line: start + 1, language, code, runs: before === '<!-- run -->' })
    start = end
  }
  return blocks
}

const blocks = pages.flatMap(blocksOf)
const named = (some: Block[]) => some.map((block) => [`${block.page}:${block.line}`, block] as const)
const code = blocks.filter(({ language }) => language === 'ts')

// Inside of the project, so that 'tidings' is the package itself.
const work = join(root, '.cache', `docs-test-${process.pid}`)
mkdirSync(work, { recursive: true })
const folders: string[] = []

/** A working directory of its own for a block. The user that PostgreSQL runs as must be able to get through. */
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-docs-'))
  chmodSync(folder, 0o755)
  symlinkSync(join(root, 'examples'), join(folder, 'examples'))
  folders.push(folder)
  return folder
}

afterAll(async () => {
  for (const folder of folders) {
    const server = join(folder, '.tidings')
    // A command each takes long, and few of the blocks start a server.
    if (existsSync(server)) await run(process.execPath, [main, 'local', 'stop', '--dir', server])
    rmSync(folder, { recursive: true, force: true })
  }
  rmSync(work, { recursive: true, force: true })
})

/** The first use of a local PostgreSQL takes its time on a busy machine. */
const patient = { timeout: 90_000 }

const fileOf = ({ page, line }: Block) => join(work, `${page.replaceAll(/\W/g, '-')}-${line}`)

test('every block of TypeScript type-checks', async () => {
  // What the pages say is there.
  const given = `import type { Bus, connect as connectFunction, Queue } from 'tidings'
import type { Engine } from 'tidings/internal/port/engine'
declare global {
  const connect: typeof connectFunction
  const bus: Bus
  const hires: Queue<{ name: string; email?: string }>
  const redis: import('ioredis').Redis
  function openEngine(): Promise<Engine>
}`
  const config = {
    extends: '../../tsconfig.json',
    // Nest's classes take what they need as parameters that are properties, and its decorators are those of old.
    compilerOptions: { noUnusedLocals: false, erasableSyntaxOnly: false, experimentalDecorators: true },
    include: ['*.ts'],
  }
  await writeFile(join(work, 'given.d.ts'), given)
  await writeFile(join(work, 'tsconfig.json'), JSON.stringify(config))
  for (const block of code) await writeFile(`${fileOf(block)}.ts`, `${block.code}\nexport {}\n`)
  const { stdout } = await run(join(root, 'node_modules/.bin/tsc'), ['-p', work], { cwd: work }).catch(
    (failed: { stdout: string }) => failed,
  )
  expect(stdout).toBe('')
})

const server = await sharedServer('postgres18')

describe('blocks of TypeScript that run print what stands below them, and those of SQL are accepted', () => {
  const database = `docs_${process.pid}_${Date.now()}`
  const url = server.replace(/[^/]+$/, database)

  beforeAll(() => onServer(`CREATE DATABASE ${database}`))
  afterAll(() => onServer(`DROP DATABASE ${database} WITH (FORCE)`))

  async function onServer(sql: string, connectionString = server): Promise<void> {
    const client = new pg.Client({ connectionString })
    await client.connect()
    await client.query(sql)
    await client.end()
  }

  test.each(named(code.filter(({ runs }) => runs)))('%s', patient, async (_, block) => {
    const printed = blocks[blocks.indexOf(block) + 1]
    expect(printed).toMatchObject({ page: block.page, language: 'text' })
    const script = `${fileOf(block)}.mjs`
    await writeFile(script, transformSync(block.code, { mode: 'strip-only', module: true }).code)
    const expected = `${printed?.code}\n`
    expect(await runUntil(script, expected, { DATABASE_URL: url })).toEqual({ output: expected, code: 0 })
  })

  test.each(named(blocks.filter(({ language, runs }) => language === 'sql' && runs)))('%s', async (_, block) => {
    const bus = await connect(url)
    await bus.close()
    await onServer(block.code, url)
  })
})

/** Runs a script; one that goes on after it has printed all is asked to end. */
function runUntil(script: string, expected: string, env: Record<string, string>) {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [script], { cwd: newFolder(), env: { PATH, HOME, ...env } })
  let output = ''
  const take = (chunk: unknown) => {
    output += String(chunk)
    if (output === expected) setTimeout(() => child.kill('SIGTERM'), 3_000)
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  return new Promise((resolve) => child.once('close', (code) => resolve({ output, code })))
}

describe('commands print what the pages show', () => {
  /** How long ago something was differs from run to run. */
  const timeless = (text: string) => text.replaceAll(/\b\d+s\b/g, 'Ns').trimEnd()

  test.each(named(blocks.filter(({ language, runs }) => language === 'console' && runs)))(
    '%s',
    patient,
    async (_, block) => {
      // The built command line in place of what npx would install.
      const npx = join(work, 'npx')
      await writeFile(npx, `#!/bin/sh\nshift\nexec "${process.execPath}" "${main}" "$@"\n`)
      await chmod(npx, 0o755)
      const { PATH = '', HOME = '' } = process.env
      const env = { PATH: `${work}:${PATH}`, HOME }
      const folder = newFolder()
      for (const step of block.code.split(/^\$ /m).slice(1)) {
        const [command, ...shown] = step.split('\n')
        const { stdout } = await run('sh', ['-c', `${command} 2>&1`], { cwd: folder, env })
        expect(timeless(stdout)).toBe(timeless(shown.join('\n')))
      }
    },
  )
})

test('the reference is up to date', async () => {
  await run(process.execPath, [join(root, 'scripts/make-reference.mjs'), '--check'])
})

test('links lead somewhere', () => {
  const broken = pages.flatMap((page) => {
    const text = readFileSync(join(root, page), 'utf8').replaceAll(/```[\s\S]*?```/g, '')
    const targets = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target as string)
    return targets
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => !existsSync(resolve(root, dirname(page), target.split('#')[0] as string)))
      .map((target) => `${page}: ${target}`)
  })
  expect(broken).toEqual([])
})

describe('the comparison of the storages', () => {
  /** The cells of all table rows of a page. */
  const rowsOf = (page: string) =>
    readFileSync(join(root, 'docs/engines', page), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
  const [head = [], , ...rows] = rowsOf('README.md')
  const pageOf = (cell: string | undefined) => /\((.+)\)/.exec(cell ?? '')?.[1] as string

  test.each([
    ['postgres.md', () => new PostgresEngine({ url: 'postgres://nowhere' })],
    ['redis.md', () => new RedisEngine('redis://nowhere')],
    ['memory.md', () => new MemoryEngine()],
  ] satisfies [string, () => Engine][])('says of %s what the engine says', (page, makeEngine) => {
    const { supports } = makeEngine()
    const features = ['transactions', 'durable', 'events', 'topics', 'limits'] satisfies Feature[]
    for (const row of rows.filter(([, title]) => pageOf(title) === page))
      expect(features.filter((feature) => row[head.indexOf(feature)] !== 'no')).toEqual(
        // What a process does for all storages alike is no row.
        [...supports].filter((feature) => feature !== 'schedules'),
      )
  })

  test('stands, row by row, on the page of each, which ends with when not to use it', () => {
    expect(rows.length).toBeGreaterThan(5)
    for (const [, title, ...cells] of rows) {
      const page = pageOf(title)
      const ends = rowsOf(page).map((row) => row.slice(-cells.length).join('|'))
      expect(ends, page).toContain(cells.join('|'))
      const text = readFileSync(join(root, 'docs/engines', page), 'utf8')
      expect(text.split(/^## /m).at(-1), page).toMatch(/^When not to use it\n/)
    }
  })
})

test('what the tree in CONTRIBUTING.md names is there', () => {
  const tree = blocks.find(({ page, language }) => page === 'CONTRIBUTING.md' && language === 'text')?.code ?? ''
  const names = [...tree.matchAll(/[\w/.*-]+(?:\.(?:ts|mjs|sql)|\/)(?=[ ,;\n)]|$)/gm)].map(([name]) => name)
  const folders = ['packages', 'test', 'bench', 'docs', 'scripts']
  const files = [
    ...readdirSync(root),
    ...readdirSync(join(root, 'examples')),
    ...folders.flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
    ),
  ]
  const isThere = (name: string) => {
    const pattern = name.replace(/\/$/, '').replaceAll('.', '\\.').replaceAll('*', '[^/]*')
    return files.some((file) => new RegExp(`(^|/)${pattern}$`).test(file))
  }
  expect(names.length).toBeGreaterThan(40)
  expect(names.filter((name) => !isThere(name))).toEqual([])
})

test('the tree in CONTRIBUTING.md names every folder and test, and every room of the library', () => {
  const tree = blocks.find(({ page, language }) => page === 'CONTRIBUTING.md' && language === 'text')?.code ?? ''
  const within = (folder: string) =>
    readdirSync(join(root, folder), { withFileTypes: true })
      .filter((one) => one.isDirectory() || one.name.endsWith('.test.ts'))
      .map((one) => (one.isDirectory() ? `${one.name}/` : one.name.replace(/^conformance\.\w+/, 'conformance.*')))
  const all = ['test', 'packages/tidings/src', 'packages/tidings/src/engines'].flatMap(within)
  expect(all.filter((name) => !tree.includes(` ${name}`))).toEqual([])
})

test('nothing promises what no queue can keep', () => {
  const promise = /exactly.once/i
  expect(pages.filter((page) => promise.test(readFileSync(join(root, page), 'utf8')))).toEqual([])
})
