import type { Option } from 'tidings/internal/core/options'
import { processSettings, type Section, sections } from './settings.ts'

/** A `tidings.config.mjs` in which every setting stands as a comment, with its default. */
export function configTemplate(): string {
  const [general, ...groups] = sections as [Section, ...Section[]]
  return `// Settings for the command \`tidings\`. A flag goes before the environment, that before this file, and that before the
// default. \`tidings validate-config\` shows what is in effect.

/** @type {import('tidings-cli').Config} */
export default {
${settingsOf(general, 1)}
${groups.map(groupOf).join('\n')}}
`
}

function groupOf(section: Section): string {
  const { exampleName } = section
  const [name] = section.path.split('.')
  const head = comment(section.doc, 1)
  if (exampleName === undefined) return `${head}\n  ${name}: {\n${settingsOf(section, 2)}  },\n`
  return `${head}\n  ${name}: {\n    // ${exampleName}: {\n${settingsOf(section, 3)}    // },\n  },\n`
}

function settingsOf({ path, schema, examples }: Section, depth: number): string {
  const blocks = Object.entries(schema).map(([name, option]) => {
    // `process` documents the options of a worker already.
    const isKnown = path === 'queues.NAME' && Object.hasOwn(processSettings, name)
    const example = Object.hasOwn(examples, name) ? examples[name] : literal(option)
    const setting = example === null ? '' : `${indent(depth)}// ${name}: ${example},\n`
    if (isKnown) return setting
    const about = `${option.doc} (${example === null ? `${name}: ` : ''}${option.typeText}; default: ${option.defaultText})`
    return `${comment(about, depth)}\n${setting}`
  })
  return blocks.join(depth > 2 ? '' : '\n')
}

/** The default as valid JavaScript. */
function literal({ kind, defaultValue, defaultText }: Option<unknown, unknown>): string {
  return kind === 'integer' || kind === 'boolean' ? String(defaultValue) : `'${defaultText.replaceAll('\\', '\\\\')}'`
}

const indent = (depth: number) => '  '.repeat(depth)

/** Lines of at most 100 characters. */
function comment(text: string, depth: number): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < 96) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines.map((line) => `${indent(depth)}// ${line}`).join('\n')
}
