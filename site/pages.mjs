// Makes the pages of the site from the Markdown of the repository: one page a task, links that lead within the site.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isElsewhere, rewriteLinks, targetOf } from '../scripts/markdown.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
export const source = fileURLToPath(new URL('.cache/pages/', import.meta.url))

/** As GitHub names headings: links between the pages are written for that. */
export const slugify = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-')

const withoutMarks = (heading) => heading.replaceAll(/[`*]|\[([^\]]*)\]\([^)]*\)/g, '$1')
/** Splits a page at its fences: what is code stays as it is. */
const outsideOfCode = (text, change) =>
  text
    .split(/(^```[\s\S]*?^```$|`[^`\n]+`)/m)
    .map((part, index) => (index % 2 ? part : change(part)))
    .join('')

const files = (folder, ending) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(ending))
const read = (path) => readFileSync(join(root, path), 'utf8')

/** Those of deploy/ that the site shows. */
const deployed = files('deploy', '').filter((name) => /(file|\.ya?ml|\.service)$/.test(name))

/** Where each file of the repository is found on the site; with '#', a part of a page. */
function targetsOf(sections) {
  const targets = new Map([
    ['README.md', 'index.md'],
    ['docs', 'guide/index.md'],
    ['docs/guide.md', 'guide/index.md'],
    ['examples', 'examples.md'],
    ['deploy', 'deploy.md'],
  ])
  for (const name of ['systemd', 'monitoring']) targets.set(`deploy/${name}`, 'deploy.md')
  for (const name of deployed) targets.set(`deploy/${name}`, `deploy.md#${slugify(name)}`)
  for (const name of readdirSync(root).filter((one) => one.endsWith('.md') && one !== 'README.md'))
    targets.set(name, `project/${name.toLowerCase()}`)
  for (const name of files('docs', '.md'))
    if (name !== 'guide.md') targets.set(`docs/${name}`, name.replace(/README\.md$/, 'index.md'))
  for (const name of files('docs', '.svg')) targets.set(`docs/${name}`, name)
  for (const name of readdirSync(join(root, 'examples')).filter((one) => one.endsWith('.mjs')))
    targets.set(`examples/${name}`, `examples.md#${slugify(name)}`)
  for (const { slug, anchors } of sections)
    for (const anchor of anchors)
      targets.set(`docs/guide.md#${anchor}`, `guide/${slug}.md${anchor === slug ? '' : `#${anchor}`}`)
  return targets
}

/** The sections of the guide, a page each. */
function sectionsOf(guide) {
  const [intro, ...parts] = guide.split(/^## /m)
  const sections = parts.map((part) => {
    const title = part.slice(0, part.indexOf('\n'))
    const text = outsideOfCode(part.slice(title.length), (one) => one.replaceAll(/^##(#+ )/gm, '#$1'))
    const headings = [...text.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/^#+ (.*)$/gm)]
    const slug = slugify(withoutMarks(title))
    return { title, slug, text, anchors: [slug, ...headings.map(([, one]) => slugify(withoutMarks(one)))] }
  })
  const all = sections.flatMap(({ anchors }) => anchors)
  const twice = all.filter((one, index) => all.indexOf(one) !== index)
  if (twice.length > 0) throw new Error(`the guide has two headings ${twice}`)
  return { intro, sections }
}

/** @param from the file in the repository @param to the page on the site @param own anchors that stand on this page */
const linked = (text, { from, to, own = new Set(), targets }) =>
  rewriteLinks(text, (target) => {
    if (isElsewhere(target)) return target
    const { file, anchor } = targetOf(from, target)
    if (file === from && own.has(anchor)) return target
    const found =
      targets.get(`${file}#${anchor}`) ??
      (targets.has(file) ? `${targets.get(file)}${anchor ? `#${anchor}` : ''}` : undefined)
    // Sources, for instance, are not on the site.
    if (found === undefined) return undefined
    const [page, part] = found.split('#')
    const path = page === to ? '' : posix.relative(posix.dirname(to), page)
    return `${path}${part ? `#${part}` : ''}` || posix.basename(page)
  })

/** What only the tests read, and what the site would take for a template. */
const cleaned = (text) =>
  outsideOfCode(text.replaceAll(/^<!-- .* -->\n\n?/gm, ''), (part) => part.replaceAll('{{', '&#123;&#123;'))

/** A page that shows the files of a folder. */
function filesPage(title, folder, names) {
  const parts = names.map((name) => {
    const language = { mjs: 'js', yaml: 'yaml', json: 'json', service: 'ini' }[name.split('.').at(-1)] ?? 'text'
    return `## ${name}\n\n\`\`\`${language}\n${read(`${folder}/${name}`).trimEnd()}\n\`\`\``
  })
  return `# ${title}\n\n${parts.join('\n\n')}\n`
}

/** @returns the pages by their path, with their titles, and the sections of the guide in their order */
export function makePages() {
  rmSync(source, { recursive: true, force: true })
  const { intro, sections } = sectionsOf(read('docs/guide.md'))
  const targets = targetsOf(sections)
  const pages = new Map()
  const add = (to, text, from, own) => pages.set(to, cleaned(linked(text, { from, to, own, targets })))
  for (const [from, to] of targets) if (from.endsWith('.md') && from !== 'docs/guide.md') add(to, read(from), from)
  add('guide/index.md', intro, 'docs/guide.md')
  const scene = '\n\n*In the examples `bus` is connected and `hires` is a queue, as in the [guide](guide.md).*\n'
  for (const { title, slug, text, anchors } of sections) {
    const [, first] = /^```ts\n([\s\S]*?)^```$/m.exec(text) ?? []
    const needsScene = first !== undefined && !first.includes('connect(')
    add(`guide/${slug}.md`, `# ${title}${needsScene ? scene : '\n'}${text}`, 'docs/guide.md', new Set(anchors.slice(1)))
  }
  const examples = readdirSync(join(root, 'examples')).filter((one) => one.endsWith('.mjs'))
  pages.set('examples.md', filesPage('Examples', 'examples', examples))
  pages.set('deploy.md', filesPage('Files for operation', 'deploy', deployed))
  for (const [path, text] of pages) {
    mkdirSync(dirname(join(source, path)), { recursive: true })
    writeFileSync(join(source, path), text)
  }
  for (const name of files('docs', '.svg')) cpSync(join(root, 'docs', name), join(source, name))
  return { pages, sections: sections.map(({ title, slug }) => ({ text: withoutMarks(title), link: `/guide/${slug}` })) }
}

export const titleOf = (text) => withoutMarks(/^# (.*)$/m.exec(text)?.[1] ?? '')
