// Writes the .sql files below src/engines/postgres/sql into sql.gen.ts, so that the package needs no file access at
// run time and bundlers take it along. With --check it only tells whether the generated file is up to date.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../src/engines/postgres/', import.meta.url))
const folder = (name) =>
  readdirSync(join(root, 'sql', name))
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({ name: file.replace(/\.sql$/, ''), sql: readFileSync(join(root, 'sql', name, file), 'utf8') }))

/** `-- name: send` starts a statement; comment lines under it are its header. */
function statements() {
  const text = readFileSync(join(root, 'sql/statements.sql'), 'utf8')
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

const literal = (value) => JSON.stringify(value, null, 2)
const generated = `// Made by scripts/embed-sql.mjs from the .sql files; do not edit.
export const migrations = ${literal(folder('migrations'))} as const
export const functions = ${literal(folder('functions'))} as const
export const pgmqFunctions = ${literal(folder('pgmq'))} as const
export const statements = ${literal(statements())} as const
`

const target = join(root, 'sql.gen.ts')
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== generated) {
    console.error('src/engines/postgres/sql.gen.ts is out of date: run `npm run build` and commit it.')
    process.exit(1)
  }
} else writeFileSync(target, generated)
