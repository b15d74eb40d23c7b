// Writes the .sql files below packages/tidings/src/engines/postgres/sql into sql.gen.ts and events.gen.ts, that of
// packages/tidings/src/pgmq into its sql.gen.ts, and the .lua files of
// packages/tidings/src/engines/redis/lua and relay into lua.gen.ts, so that the package needs no file access at run time and bundlers take it along.
// With --check it only tells whether these files are up to date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const engines = fileURLToPath(new URL('../packages/tidings/src/engines/', import.meta.url))
const root = join(engines, 'postgres')
const luaFolders = ['lua', 'relay'].map((name) => join(engines, 'redis', name))
const folder = (name) =>
  readdirSync(join(root, 'sql', name))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({ name: file.replace(/\.sql$/, ''), sql: portable(join(root, 'sql', name, file)) }))

/** Text that every encoding of a database holds, and that means the same whatever standard_conforming_strings is. */
function portable(file) {
  const text = readFileSync(file, 'utf8')
  const [found] = text.match(/[^\x20-\x7e\n]|\\/u) ?? []
  if (found !== undefined)
    throw new Error(`${file} holds ${JSON.stringify(found)}: use printable ASCII without backslashes`)
  return text
}

/** `-- name: send` starts a statement; comment lines under it are its header. */
function statements(path) {
  const text = readFileSync(path, 'utf8')
  const parts = text.split(/^-- name: (\w+)$/m).slice(1)
  const found = {}
  for (let i = 0; i < parts.length; i += 2)
    found[parts[i]] = parts[i + 1]
      .split('\n')
      .filter((line) => !line.startsWith('--'))
      .join(' ')
      .trim()
      .replace(/\s+/g, ' ')
      .replace(/;$/, '')
  return found
}

/** Without comments and indentation. */
const bare = (code) =>
  code
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('--'))
    .join('\n')

/** A script begins with its flags; a file without them has helpers: each `local` at the start of a line is one. */
const luaFiles = luaFolders.flatMap((folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.lua'))
    .sort()
    .map((file) => ({ name: file.replace(/\.lua$/, ''), code: readFileSync(join(folder, file), 'utf8') })),
)
const isScript = ({ code }) => code.startsWith('#!lua')
const helpers = Object.fromEntries(
  luaFiles
    .filter((file) => !isScript(file))
    .flatMap(({ code }) => code.split(/^(?=local )/m).map(bare))
    .flatMap((code) => (code === '' ? [] : [[/^local (?:function )?(\w+)/.exec(code)[1], code]])),
)

/** The helpers that the code uses, and before each those that it uses itself. Names of fields and texts do not count. */
function helpersOf(code, found = new Set(), self = '') {
  for (const [, name] of code.matchAll(/(?<![.\w'])(\w+)/g)) {
    if (name === self || found.has(name) || !Object.hasOwn(helpers, name)) continue
    helpersOf(helpers[name], found, name)
    found.add(name)
  }
  return [...found]
}

const scripts = Object.fromEntries(
  luaFiles.filter(isScript).map(({ name, code }) => {
    const [flags, ...own] = bare(code).split('\n')
    return [name, { flags, helpers: helpersOf(own.join('\n')), code: own.join('\n') }]
  }),
)

const literal = (value) => JSON.stringify(value, null, 2)
const head = (kind) => `// Made by scripts/embed.mjs from the .${kind} files; do not edit.\n`
const [down, , up] = folder('events')
const [functions, pgmqFunctions, roles, changes] = ['functions', 'pgmq', 'roles', 'change'].map(folder)
const byName = (files) => Object.fromEntries(files.map(({ name, sql }) => [name, sql]))

/**
 * When these functions got their text: what tells newer from older ones. It stays while they stay, and only grows,
 * whatever the clock says.
 */
function functionsMadeAt() {
  const before = existsSync(join(root, 'sql.gen.ts')) ? readFileSync(join(root, 'sql.gen.ts'), 'utf8') : ''
  const [, madeAt] = /^export const functionsMadeAt = "(.+)"$/m.exec(before) ?? []
  if (madeAt && before.includes(functionsText)) return madeAt
  return new Date(Math.max(Date.now(), Date.parse(madeAt ?? '1970-01-01') + 1)).toISOString()
}

const functionsText = `export const functions = ${literal(functions)} as const
export const pgmqFunctions = ${literal(pgmqFunctions)} as const
export const roles = ${literal(byName(roles))} as const
`
const generated = {
  'postgres/sql.gen.ts': `${head('sql')}export const migrations = ${literal(folder('migrations'))} as const
${functionsText}export const changes = ${literal(byName(changes))} as const
export const functionsMadeAt = ${literal(functionsMadeAt())}
export const statements = ${literal(statements(join(root, 'sql/statements.sql')))} as const
`,
  'postgres/events.gen.ts': `${head('sql')}export const up = ${literal(up.sql)}
export const down = ${literal(down.sql)}
export const statements = ${literal(statements(join(root, 'sql/events/statements.sql')))} as const
`,
  '../pgmq/sql.gen.ts': `${head('sql')}export const statements = ${literal(statements(join(engines, '../pgmq/statements.sql')))} as const
`,
  'redis/lua.gen.ts': `${head('lua')}/** What scripts share. */
export const helpers = ${literal(helpers)} as const
/** Each with the names of its helpers, in the order in which they have to stand before it. */
export const scripts = ${literal(scripts)} as const
`,
}

for (const [name, text] of Object.entries(generated)) {
  const target = join(engines, name)
  if (!process.argv.includes('--check')) writeFileSync(target, text)
  else if (readFileSync(target, 'utf8') !== text) {
    console.error(`packages/tidings/src/engines/${name} is out of date: run \`npm run build\` and commit it.`)
    process.exitCode = 1
  }
}
