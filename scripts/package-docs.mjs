// Gives each package its README, from docs/packages, and the pages that its users need, with links that lead somewhere within it.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isElsewhere, rewriteLinks, targetOf } from './markdown.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const inFolder = (folder) => readdirSync(join(root, 'docs', folder)).map((name) => `docs/${folder}/${name}`)

/** What is about the making of Tidings stays in its repository. */
const forUsers = [
  ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`),
  ...['engines', 'recipes', 'coming-from', 'reference'].flatMap(inFolder),
].filter((name) => name.endsWith('.md') && !/(architecture|benchmarks)\.md$/.test(name))

const pagesOf = {
  tidings: forUsers,
  local: ['docs/engines/local.md', 'docs/engines/redis-local.md'],
  server: ['docs/server.md', 'docs/engines/http.md', 'docs/reference/http.md'],
  testkit: ['docs/engines/port.md'],
  cli: ['docs/operating.md', 'docs/reference/cli.md', 'docs/reference/config.md'],
}

export function writePackageDocs() {
  for (const [name, pages] of Object.entries(pagesOf)) {
    const folder = join(root, 'packages', name)
    rmSync(join(folder, 'docs'), { recursive: true, force: true })
    const readme = `docs/packages/${name === 'tidings' ? name : `tidings-${name}`}.md`
    const places = new Map([...pages.map((page) => [page, page]), [readme, 'README.md']])
    for (const [from, to] of places) {
      const text = rewriteLinks(
        readFileSync(join(root, from), 'utf8').replaceAll(/^<!-- .* -->\n\n?/gm, ''),
        (target) => {
          if (isElsewhere(target)) return target
          const { file, anchor } = targetOf(from, target)
          if (!places.has(file)) return undefined
          return `${posix.relative(posix.dirname(to), places.get(file))}${anchor ? `#${anchor}` : ''}`
        },
      )
      mkdirSync(dirname(join(folder, to)), { recursive: true })
      writeFileSync(join(folder, to), text)
    }
    cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  }
  // For those who give rights by hand.
  const roles = 'src/engines/postgres/sql/roles'
  cpSync(join(root, 'packages/tidings', roles), join(root, 'packages/tidings/sql/roles'), { recursive: true })
}
