import { chmodSync, chownSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findConfigFile } from 'tidings-cli/internal/config/file'
import { loadConfig, readConfig } from 'tidings-cli/internal/config/load'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'tidings-config-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(root, 'one-'))
})

function write(name: string, text: string | Buffer): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  chmodSync(path, 0o644)
  return path
}

/** The messages, with the folder left out. */
const problemsOf = async (path: string) =>
  (await readConfig(path)).problems.map(({ message }) => message.replace(`${folder}/`, ''))

describe('every format says the same', () => {
  const settings = {
    url: 'memory:',
    queues: { orders: { concurrency: 1, deadLetter: false } },
    owner: 'shop',
    schedules: { nightly: { cron: '@daily', queue: 'orders', data: { big: 1 } } },
  }

  test.each([
    ['tidings.config.json', JSON.stringify(settings)],
    ['tidings.config.mjs', `export default ${JSON.stringify(settings)}`],
    ['tidings.config.js', `module.exports = ${JSON.stringify(settings)}`],
    [
      'tidings.config.toml',
      'url = "memory:"\nowner = "shop"\n[queues.orders]\nconcurrency = 1\ndeadLetter = false\n[schedules.nightly]\ncron = "@daily"\nqueue = "orders"\ndata = { big = 1 }',
    ],
  ])('%s', async (name, text) => {
    const path = write(name, text)
    expect(findConfigFile(folder)).toBe(path)
    expect(await readConfig(path)).toMatchObject({ config: settings, problems: [] })
  })
})

describe('an unusable file is reported with its line', () => {
  test.each([
    ['a.json', '{\n  "url": "memory:",\n}', 'a.json:3: Expected double-quoted property name'],
    ['b.json', '{', 'b.json:1: Expected property name or '],
    ['empty.json', '', 'empty.json:1: Unexpected end'],
    ['twice.json', '{"url":"memory:","url":"memory:"}', 'twice.json: url is given twice'],
    ['latin.json', Buffer.from('{"url":"Zo\xeb"}', 'latin1'), 'latin.json: it is in another encoding, not UTF-8'],
    ['a.toml', 'url = "memory:"\n[process\nlease = 1', 'a.toml:2: '],
    ['twice.toml', 'url = "memory:"\nurl = "memory:"', 'twice.toml:2: '],
    ['throws.mjs', 'const a = 1\n\nthrow new Error("boom")', 'throws.mjs:3: boom'],
    ['none.mjs', 'export const url = "memory:"', 'none.mjs: it has no default export'],
    ['function.mjs', 'export default () => ({})', 'the configuration is a function; it must be an object'],
  ])('%s', async (name, text, problem) => {
    const problems = await problemsOf(write(name, text))
    expect(problems).toHaveLength(1)
    expect(problems[0]?.startsWith(problem), problems[0]).toBe(true)
  })

  test.skipIf(process.geteuid?.() !== 0)('a module of another user is not run', async () => {
    const path = write('foreign.mjs', 'throw new Error("it ran")')
    chownSync(path, 65_534, 65_534)
    expect(await problemsOf(path)).toEqual(['foreign.mjs: it belongs to another user (uid 65534) (chown 0)'])
  })

  test('a module that everybody may change is not run', async () => {
    const path = write('open.mjs', 'throw new Error("it ran")')
    chmodSync(path, 0o666)
    expect(await problemsOf(path)).toEqual(['open.mjs: it can be changed by everybody on this machine (chmod o-w)'])
  })
})

test.each([
  ['bom.json', '\ufeff{"url":"memory:"}'],
  ['bom.toml', '\ufeffurl = "memory:"\r\n'],
])('a byte order mark is no part of %s', async (name, text) => {
  expect(await readConfig(write(name, text))).toMatchObject({ config: { url: 'memory:' }, problems: [] })
})

test('several files in one folder are an error that names them', () => {
  const paths = [write('tidings.config.mjs', ''), write('tidings.config.toml', '')]
  expect(() => findConfigFile(folder)).toThrow(`there are several configuration files: ${paths.join(', ')}`)
})

test.each([
  ['missing.toml', 'cannot be read: there is none'],
  ['config.yaml', 'has an unknown extension'],
])('%s is an error of use', async (name, why) => {
  const path = join(folder, name)
  await expect(readConfig(path)).rejects.toMatchObject({
    code: 'USAGE',
    message: `the configuration file '${path}' ${why}`,
  })
})

test('without a file there is nothing to say', () => expect(findConfigFile(folder)).toBeNull())

test('paths are seen from the file', async () => {
  const path = write('c.json', '{"url": "local:./data", "handlers": "work"}')
  expect((await readConfig(path)).config).toMatchObject({ url: `local:${folder}/data`, handlers: `${folder}/work` })
})

test('what is wrong in a schedule is a problem of the file', async () => {
  const path = write(
    'cron.toml',
    'owner = "shop"\n[schedules.never]\ncron = "0 0 30 2 *"\nqueue = "orders"\n[schedules.once]\nat = 2030-01-01T00:00:00Z\nqueue = "orders"',
  )
  await expect(loadConfig(path)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `${path}: schedules.never: schedule 'never' has no time that lies ahead`,
  })
})

test('a command is refused with everything that is wrong', async () => {
  const path = write('wrong.json', '{"urll": 1, "process": {"lease": true}}')
  await expect(loadConfig(path)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `${path}: urll is not a setting\n${path}: process.lease is true, which is not a duration`,
  })
})
