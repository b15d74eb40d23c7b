// The site for programs: every page as Markdown beside its HTML, and llms.txt with a line for each.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { source, titleOf } from './pages.mjs'

const out = fileURLToPath(new URL('dist/', import.meta.url))

/** The first sentence of a page. */
function summaryOf(text) {
  const paragraph =
    text
      .replaceAll(/^```[\s\S]*?^```$/gm, '')
      .split(/\n\n/)
      .find((part) => /^\s*[\p{L}`[]/u.test(part)) ?? ''
  const plain = paragraph
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[*\n]/g, (one) => (one === '\n' ? ' ' : ''))
  return /^.*?\.(?=\s|$)/.exec(plain.trim())?.[0] ?? plain.trim()
}

export function writeText() {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((one) => /\.(md|svg)$/.test(one))
  for (const path of files) if (!path.startsWith('public/')) cpSync(join(source, path), join(out, path))
  const paths = files.filter((one) => one.endsWith('.md')).toSorted()
  const lines = paths.map((path) => {
    const text = readFileSync(join(source, path), 'utf8')
    return { path, line: `- [${titleOf(text)}](${path}): ${summaryOf(text)}` }
  })
  const some = (test) =>
    lines
      .filter(({ path }) => test(path))
      .map(({ line }) => line)
      .join('\n')
  const isAside = (path) => /^(decisions|project)\//.test(path)
  const text = `# Tidings

> Durable message queues and a message bus for TypeScript, on PostgreSQL, Redis, HTTP or memory.

## Documentation

${some((path) => !isAside(path))}

## Optional

${some(isAside)}
`
  writeFileSync(join(out, 'llms.txt'), text)
}
