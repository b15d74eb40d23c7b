// Writes docs/reference/ from the built code: the option schemas, the error table and the help of the command line.
// With --check it only tells whether the files are up to date. Run `npm run build` before.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { errorTable } from 'tidings/internal/core/errors'
import { sections } from 'tidings-cli/internal/config/settings'
import { program } from 'tidings-cli/internal/program'
import { allRoutes } from 'tidings-server/internal/routes/all'
import { apiReport } from './api-report.mjs'
import { calls } from './calls.mjs'
import { typeOf } from './option-types.mjs'

const head = '<!-- Made by scripts/make-reference.mjs from the code; do not edit. -->\n'

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')

/** Columns are padded, so that the files read well as text, too. */
function table(titles, rows) {
  const all = [titles, ...rows].map((row) => row.map(cell))
  const widths = titles.map((_, column) => Math.max(3, ...all.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((text, column) => text.padEnd(widths[column])).join(' | ')} |`
  return [line(all[0]), line(widths.map((width) => '-'.repeat(width))), ...all.slice(1).map(line)].join('\n')
}

function optionTable(schema) {
  const rows = Object.entries(schema).map(([name, option]) => [
    `\`${name}\``,
    typeOf(option),
    option.defaultText,
    option.doc,
  ])
  return table(['option', 'type', 'default', 'meaning'], rows)
}

function options() {
  const sections = calls.map(([call, schema, note]) => {
    const parts = [`## \`${call}\``, ...(note ? [note] : []), optionTable(schema)]
    return parts.join('\n\n')
  })
  return `${head}
# Options

Every option of every call. A duration is a text like \`'250ms'\`, \`'5s'\`, \`'2m'\`, \`'1h'\`, \`'7d'\`, or a number of
milliseconds. An option that is \`undefined\` counts as left out; an unknown one is OPTION_UNKNOWN.

${sections.join('\n\n')}
`
}

function errors() {
  const rows = Object.entries(errorTable).map(([code, { hint, retryable, httpStatus, exitCode }]) => [
    `\`${code}\``,
    retryable ? 'yes' : 'no',
    String(httpStatus),
    String(exitCode),
    hint,
  ])
  return `${head}
# Errors

Every error that Tidings raises is a \`TidingsError\` with these fields:

- \`code\`: one of the table below; \`isTidingsError(error, 'DUPLICATE')\` tests for it
- \`message\`: the field, the value and the rule
- \`hint\`: what to do about it
- \`retryable\`: whether the same call may succeed later without any change
- \`details\`: facts for programs; never a secret
- \`httpStatus\`: that of the HTTP server
- \`exitCode\`: that of the command line: 1 it failed, 2 it was asked for wrongly

${table(['code', 'retryable', 'HTTP', 'exit code', 'hint'], rows)}
`
}

/** The help of a command and of all below it. */
function helpOf(command, path) {
  let text = ''
  command.configureOutput({ getOutHelpWidth: () => 100, writeOut: (part) => (text += part) })
  command.outputHelp()
  const own = `${'#'.repeat(path.length > 2 ? 3 : 2)} \`${path.join(' ')}\`\n\n\`\`\`text\n${text.trimEnd()}\n\`\`\``
  return [own, ...command.commands.flatMap((below) => helpOf(below, [...path, below.name()]))]
}

function commandLine() {
  return `${head}
# Command line

What every command says with \`--help\`. Exit codes: 0 done, 1 failed, 2 asked for wrongly. With \`--json\` results are
JSON on standard output and errors JSON on standard error.

${helpOf(program(), ['tidings']).join('\n\n')}
`
}

function config() {
  const parts = sections.map(
    ({ path, doc, schema }) => `## ${path ? `\`${path}\`` : 'At the top'}\n\n${doc}\n\n${optionTable(schema)}`,
  )
  return `${head}
# Configuration file

The command line reads \`tidings.config.js\`, \`.mjs\`, \`.json\` or \`.toml\` in the working directory, or the file after
\`--config\`. A flag goes before the environment, that before the file, and that before the default. \`tidings init\`
writes a file with every setting as a comment; \`tidings validate-config\` shows what is in effect.

${parts.join('\n\n')}
`
}

function http() {
  const tags = [...new Set(allRoutes.map(({ tag }) => tag))]
  const parts = tags.map((tag) => {
    const rows = allRoutes
      .filter((route) => route.tag === tag)
      .map(({ method, path, scope, summary }) => [`\`${method} ${path}\``, scope ?? 'any', summary])
    return `## ${tag}\n\n${table(['route', 'scope', 'what it does'], rows)}`
  })
  return `${head}
# Routes of the HTTP server

Fields and answers are in \`/docs\` and \`/openapi.json\` of every server. How to run one is in [The HTTP
server](../server.md), what holds for all routes in [HTTP](../engines/http.md).

${parts.join('\n\n')}
`
}

const api = () => `${head}
# API

All that the packages export, as TypeScript declares it, without the comments. A change here is a change for users.

${apiReport()}
`

const folder = fileURLToPath(new URL('../docs/reference/', import.meta.url))
const files = {
  'options.md': options(),
  'errors.md': errors(),
  'cli.md': commandLine(),
  'config.md': config(),
  'http.md': http(),
  'api.md': api(),
}

if (process.argv.includes('--check')) {
  const stale = Object.entries(files).filter(([name, text]) => read(folder + name) !== text)
  if (stale.length > 0) {
    const names = stale.map(([name]) => `docs/reference/${name}`).join(', ')
    console.error(`out of date: ${names}. Run \`npm run build && node scripts/make-reference.mjs\` and commit it.`)
    process.exitCode = 1
  }
} else {
  mkdirSync(folder, { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(folder + name, text)
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
