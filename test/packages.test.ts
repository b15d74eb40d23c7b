import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { version } from 'tidings/internal/core/version'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { removeDirectory, serverDirectory } from './support/directories.ts'
import { sharedServer } from './support/shared-servers.ts'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const work = await serverDirectory('packages')
const app = join(work, 'app')
const names = ['tidings', 'tidings-local', 'tidings-server', 'tidings-testkit', 'tidings-cli']
const folderOf = (name: string) => join(root, 'packages', name.replace('tidings-', ''))

interface Manifest {
  readonly version: string
  readonly bin?: object
  readonly dependencies?: Record<string, string>
  readonly exports: Record<string, unknown>
}
const manifestAt = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

/** Packs the packages as they would be published, and installs the library alone, as an application does. */
beforeAll(async () => {
  const packed = await Promise.all(
    names.map((name) => execute('npm', ['pack', '--silent', '--pack-destination', work], { cwd: folderOf(name) })),
  )
  expect(packed).toHaveLength(names.length)
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true }')
  await install('tidings')
})
afterAll(() => removeDirectory(work))

const install = (...wanted: string[]) =>
  execute(
    'npm',
    ['install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', '--omit=optional', ...wanted.map(tarball)],
    {
      cwd: app,
    },
  )
const tarball = (name: string) => join(work, `${name}-${version}.tgz`)
const node = (...args: string[]) => execute(process.execPath, args, { cwd: app })

function sizeOf(folder: string): number {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => statSync(join(folder, path)))
  return files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
}

test('all packages have the version that the library says, and ask for each other in it', () => {
  for (const name of names) {
    const manifest = manifestAt(folderOf(name))
    expect(manifest.version, name).toBe(version)
    for (const [dependency, wanted] of Object.entries(manifest.dependencies ?? {}))
      if (dependency.startsWith('tidings')) expect(wanted, `${name} → ${dependency}`).toBe(version)
  }
})

describe('the library, installed by itself', () => {
  test('has three dependencies at most and no command, and takes 5 MB at most with all of them', () => {
    const { dependencies = {}, bin } = manifestAt(join(app, 'node_modules/tidings'))
    expect(Object.keys(dependencies).length).toBeLessThanOrEqual(3)
    expect(bin).toBeUndefined()
    expect(sizeOf(join(app, 'node_modules'))).toBeLessThan(5 * 1024 * 1024)
  })

  test('is imported, and required from CommonJS', async () => {
    writeFileSync(
      join(app, 'imports.mjs'),
      "import { connect } from 'tidings'\nimport { memoryBus } from 'tidings/testing'\nimport { Pgmq } from 'tidings/pgmq'\nconsole.log(typeof connect, typeof memoryBus, typeof Pgmq)\n",
    )
    writeFileSync(
      join(app, 'requires.cjs'),
      "const { connect } = require('tidings')\nconst { memoryBus } = require('tidings/testing')\nconst { Pgmq } = require('tidings/pgmq')\nconsole.log(typeof connect, typeof memoryBus, typeof Pgmq)\n",
    )
    expect((await node('imports.mjs')).stdout).toBe('function function function\n')
    expect((await node('requires.cjs')).stdout).toBe('function function function\n')
  })

  test('loads no engine, no driver and no server before it is asked for one', async () => {
    const env = { ...process.env, NODE_DEBUG: 'esm' }
    const only = ['--input-type=module', '--eval', "import 'tidings'"]
    const { stderr } = await execute(process.execPath, only, { cwd: app, env })
    expect(stderr).toContain('tidings/dist/index.js')
    expect([...new Set(stderr.match(/tidings\/dist\/engines|node_modules\/(?:pg|ioredis)/g))]).toEqual([])
    const pgmq = ['--input-type=module', '--eval', "import 'tidings/pgmq'"]
    const loaded = (await execute(process.execPath, pgmq, { cwd: app, env })).stderr
    expect(loaded).toContain('tidings/dist/pgmq/session.js')
    expect([...new Set(loaded.match(/tidings\/dist\/bus|node_modules\/(?:pg|ioredis)/g))]).toEqual([])
  })

  test('names the command that installs the local PostgreSQL where it is not there', async () => {
    const code =
      "import('tidings').then(({ connect }) => connect()).catch((error) => console.log(error.code, error.hint))"
    expect((await node('-e', code)).stdout).toMatch(/^LOCAL_UNAVAILABLE .*npm install tidings-local/)
  })
})

test('every door of every package has types that stand by themselves', async () => {
  await install(...names)
  const doors = names.flatMap((name) =>
    Object.keys(manifestAt(folderOf(name)).exports)
      .filter((path) => !path.includes('*') && !path.endsWith('.json'))
      .map((path) => name + path.slice(1)),
  )
  writeFileSync(
    join(app, 'doors.mts'),
    doors.map((door, index) => `import * as door${index} from '${door}'\n`).join('') +
      `export default [${doors.map((_, index) => `door${index}`)}]\n`,
  )
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions: settings, files: ['doors.mts'] }))
  for (const compiler of compilers) expect(await compile(compiler, app)).toBe('')
})

/** The project's own, and the oldest that users may have. */
const compilers = ['node_modules/typescript/bin/tsc', 'test/consumer/node_modules/typescript/bin/tsc'].map((one) =>
  join(root, one),
)
const settings = {
  strict: true,
  skipLibCheck: false,
  noEmit: true,
  module: 'nodenext',
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  types: ['node'],
}

/** @returns what the compiler complains of */
async function compile(compiler: string, folder: string): Promise<string> {
  for (const types of ['@types/node', 'undici-types'])
    cpSync(join(root, 'node_modules', types), join(folder, 'node_modules', types), { recursive: true })
  const { stdout } = await execute(process.execPath, [compiler, '-p', folder], { cwd: folder }).catch(
    (failed: { stdout: string }) => failed,
  )
  return stdout
}

test('links of what is shipped lead to what is shipped', async () => {
  await install(...names)
  for (const name of names) {
    const folder = join(app, 'node_modules', name)
    const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'))
    expect(pages, name).toContain('README.md')
    expect(existsSync(join(folder, 'LICENSE')), name).toBe(true)
    const broken = pages.flatMap((page) => {
      const text = readFileSync(join(folder, page), 'utf8').replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '')
      const targets = [...text.matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, target]) => target as string)
      return targets
        .filter((target) => !/^https?:/.test(target) && !existsSync(join(folder, dirname(page), target)))
        .map((target) => `${page}: ${target}`)
    })
    expect(broken, name).toEqual([])
  }
  expect(readdirSync(join(app, 'node_modules/tidings/sql/roles'))).toContain('rights.sql')
})

test('a new user pastes the code of the README into an empty folder, checks its types strictly, and runs it', async () => {
  const folder = join(work, 'new-user')
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{ "name": "new-user", "private": true, "type": "module" }')
  const quietly = ['--silent', '--no-audit', '--no-fund', '--prefer-offline']
  await execute('npm', ['install', ...quietly, tarball('tidings')], { cwd: folder })
  const readme = readFileSync(join(folder, 'node_modules/tidings/README.md'), 'utf8')
  const [, code, printed] = /```ts\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/.exec(readme) ?? []
  writeFileSync(join(folder, 'app.ts'), code!)
  const compilerOptions = {
    ...settings,
    noEmit: false,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['app.ts'] }))
  expect(await compile(compilers[1]!, folder)).toBe('')
  const server = await sharedServer('postgres18')
  const database = `new_user_${process.pid}_${Date.now()}`
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(`CREATE DATABASE ${database}`)
    const env = { ...process.env, DATABASE_URL: server.replace(/[^/]+$/, database) }
    const { stdout } = await execute(process.execPath, ['app.js'], { cwd: folder, env })
    expect(stdout).toBe(printed)
    await client.query(`DROP DATABASE ${database} WITH (FORCE)`)
  } finally {
    await client.end()
  }
})
