// Makes the types of options in the compiled declarations such as an editor can show them: `type SendOptions =
// OptionsInput<typeof sendOptions>` becomes an interface with a comment at each option, from the schema itself.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'

const aliasPattern = /^export type (\w+) = (?:option\.)?OptionsInput<typeof (\w+)>;$/gm
const inlinePattern = /(?:option\.)?OptionsInput<\{/

/** What was found so far, in all packages: the interface of each schema, by the schema's type as text. */
const interfaces = []

/** @param packageName by which other packages import from there @param folder its dist/ */
export async function writeOptionTypes(packageName, folder) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.d.ts'))
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(folder, name), 'utf8') }))
  const found = files.flatMap(({ path, text }) =>
    [...text.matchAll(aliasPattern)].map(([alias, name, schema]) => ({
      ...{ alias, name, schema, path },
      typeText: schemaType(text, schema, path),
      module: `${packageName}/internal/${relative(folder, path)
        .replace(/\.d\.ts$/, '')
        .replaceAll('\\', '/')}`,
    })),
  )
  interfaces.push(...found.map((one) => ({ ...one, key: plain(one.typeText) })))
  for (const { path, text } of files) {
    let changed = text
    for (const one of found.filter((other) => other.path === path)) {
      const { [one.schema]: schema } = await import(pathToFileURL(path.replace(/\.d\.ts$/, '.js')).href)
      if (!schema) throw new Error(`${path}: ${one.schema} is not exported, which ${one.name} needs`)
      changed = changed.replace(one.alias, () => interfaceOf(one, schema, packageName))
    }
    if (changed !== text) writeFileSync(path, withImports(changed))
  }
}

/** `{ … }`, as the compiler writes it: one member a line, indented by four spaces. */
function schemaType(text, schema, path) {
  const start = text.indexOf(`\nexport declare const ${schema}: {\n`)
  if (start < 0) throw new Error(`${path}: there is no exported schema ${schema}`)
  const open = text.indexOf('{', start)
  return text.slice(open, text.indexOf('\n};', open) + 2)
}

/** Without what depends on where it stands. */
const plain = (type) =>
  type
    .replace(/import\("[^"]+"\)\./g, '')
    .replace(/\boption\./g, '')
    .replace(/\s+/g, ' ')

function interfaceOf(one, schema, packageName) {
  const members = one.typeText
    .slice(2, -2)
    .split(/\n(?= {4}\S)(?! {4}\})/)
    .map((member) => /^ *readonly (\w+): (.+);$/s.exec(member))
  const lines = members.map((match, index) => {
    const [, name, type] = match ?? []
    if (!schema[name]) throw new Error(`${one.path}: member ${index} of ${one.schema} is no option of it`)
    const input = named(inputType(type, `${one.path}: ${one.schema}.${name}`), one, packageName)
    return `${comment(schema[name])}    readonly ${name}?: ${orUndefined(input)};`
  })
  return `export interface ${one.name} {\n${lines.join('\n')}\n}`
}

function orUndefined(type) {
  const whole = type.includes('=>') ? `(${type})` : type
  return whole.endsWith('| undefined') ? whole : `${whole} | undefined`
}

/** `Option<Input, Output>` → `Input`; one that was made from another is written out, with a member for it. */
function inputType(type, where) {
  const start = /^(?:option\.)?Option</.exec(type)?.[0].length
  if (start !== undefined) return type.slice(start, endOf(type, start, ','))
  const [, input] = /^ {8}(?:readonly )?input\?: (.+?)(?: \| undefined)?;$/m.exec(type) ?? []
  if (!input) throw new Error(`${where} is ${type.slice(0, 40)}…: declare it as an Option<Input, Output>`)
  return input
}

/** The end of what begins at `start`: the next `mark` or closing bracket outside of brackets. */
function endOf(text, start, mark) {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    if (depth === 0 && (text[at] === mark || /[>\])}]/.test(text[at])) && text[at - 1] !== '=') return at
    if (/[<[({]/.test(text[at])) depth++
    else if (/[\])}]/.test(text[at]) || (text[at] === '>' && text[at - 1] !== '=')) depth--
  }
  throw new Error(`no end in ${text.slice(start, start + 80)}`)
}

/** With the names of interfaces in place of what they are made from. */
function named(type, from, packageName) {
  const [opening] = inlinePattern.exec(type) ?? []
  if (!opening) return type
  const start = type.indexOf(opening)
  const open = start + opening.length - 1
  const end = endOf(type, open + 1) + 1
  const key = plain(type.slice(open, end))
  // A type that has a name there may be written out here.
  const one =
    interfaces.find((other) => other.key === key) ?? interfaces.find((other) => namesIn(other.key) === namesIn(key))
  if (!one) throw new Error(`${from.path}: ${from.name} has options without a name: export type … = OptionsInput<…>`)
  const path = one.module.startsWith(`${packageName}/`) ? importPath(from.path, one.path) : one.module
  const name = one.path === from.path ? one.name : `import("${path}").${one.name}`
  return named(type.slice(0, start) + name + type.slice(end + 1), from, packageName)
}

const namesIn = (key) => (key.match(/readonly \w+: (?=Option<)/g) ?? []).join()

function importPath(from, to) {
  const path = relative(dirname(from), to)
    .replaceAll('\\', '/')
    .replace(/\.d\.ts$/, '.ts')
  return path.startsWith('.') ? path : `./${path}`
}

/** `import("…").Duration` → `Duration`, imported at the top; not where the file has another of the name. */
function withImports(text) {
  const wanted = new Map()
  const changed = text.replace(/^ {4}readonly \w+\?: .*(?:\n(?! {4}(?:readonly|\/\*\*)|\}).*)*/gm, (member) =>
    member.replace(/import\("([^"]+)"\)\.(\w+)/g, (whole, path, name) => {
      const known = wanted.get(name)
      const isTaken =
        known === undefined
          ? new RegExp(`^(?:import|export|declare|type|interface).*\\b${name}\\b`, 'm').test(text)
          : known !== path
      if (isTaken) return hasImport(text, name, path) ? name : whole
      wanted.set(name, path)
      return name
    }),
  )
  return [...wanted].map(([name, path]) => `import type { ${name} } from '${path}';\n`).join('') + changed
}

const hasImport = (text, name, path) =>
  new RegExp(`^import .*\\b${name}\\b.* from '${path.replaceAll('.', '\\.')}'`, 'm').test(text)

/** The meaning; type and bounds; the default. */
function comment(option) {
  const bounds = typeOf(option)
  const unit = option.kind === 'duration' ? " ('5s', or a number of milliseconds)" : ''
  const facts = [
    `${bounds[0].toUpperCase()}${bounds.slice(1)}${unit}`,
    option.required ? 'Required' : `Default: ${option.defaultText}`,
  ]
  const lines = [option.doc, '', `${facts.join('. ')}.`]
  return `    /**\n${lines.map((line) => `     * ${line}`.trimEnd().replaceAll('*/', '*\\/')).join('\n')}\n     */\n`
}

/** The type and bounds of an option in words. */
export const typeOf = ({ typeText }) => typeText.replace(` to ${Number.MAX_SAFE_INTEGER}`, ' or more')
