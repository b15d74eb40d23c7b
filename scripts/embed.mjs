// Writes the .sql files below packages/tidings/src/engines/postgres/sql into sql.gen.ts and events.gen.ts, and the .lua files of
// packages/tidings/src/engines/redis/lua into lua.gen.ts, so that the package needs no file access at run time and bundlers take it along.
// With --check it only tells whether these files are up to date.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const engines = fileURLToPath(new URL('../packages/tidings/src/engines/', import.meta.url))
const root = join(engines, 'postgres')
const lua = join(engines, 'redis', 'lua')
const folder = (name) =>
  readdirSync(join(root, 'sql', name))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({ name: file.replace(/\.sql$/, ''), sql: readFileSync(join(root, 'sql', name, file), 'utf8') }))

/** `-- name: send` starts a statement; comment lines under it are its header. */
function statements(file) {
  const text = readFileSync(join(root, 'sql', file), 'utf8')
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

const luaLines = (name) => readFileSync(join(lua, `${name}.lua`), 'utf8').split('\n')

/** A script with what all of them begin with, or all for topics: flags first, without comments and indentation. */
function script([flags, ...own]) {
  const shared = own.some((line) => line.includes('topicAt(')) ? ['common', 'topic'] : ['common']
  const code = [...shared.flatMap(luaLines), ...own]
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('--'))
  return `${[flags, ...code].join('\n')}\n`
}

const scripts = Object.fromEntries(
  readdirSync(lua)
    .filter((file) => file.endsWith('.lua'))
    .sort()
    .map((file) => file.replace(/\.lua$/, ''))
    .map((name) => [name, luaLines(name)])
    .filter(([, [flags]]) => flags.startsWith('#!lua'))
    .map(([name, lines]) => [name, script(lines)]),
)

const literal = (value) => JSON.stringify(value, null, 2)
const head = (kind) => `// Made by scripts/embed.mjs from the .${kind} files; do not edit.\n`
const [down, , up] = folder('events')
const generated = {
  'postgres/sql.gen.ts': `${head('sql')}export const migrations = ${literal(folder('migrations'))} as const
export const functions = ${literal(folder('functions'))} as const
export const pgmqFunctions = ${literal(folder('pgmq'))} as const
export const statements = ${literal(statements('statements.sql'))} as const
`,
  'postgres/events.gen.ts': `${head('sql')}export const up = ${literal(up.sql)}
export const down = ${literal(down.sql)}
export const statements = ${literal(statements('events/statements.sql'))} as const
`,
  'redis/lua.gen.ts': `${head('lua')}export const scripts = ${literal(scripts)} as const
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
