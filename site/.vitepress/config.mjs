import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { renderMermaidSVG } from 'beautiful-mermaid'
import { makePages, slugify, source, titleOf } from '../pages.mjs'

const { pages, sections } = makePages()

const paths = [...pages.keys()]
const linkTo = (path) => `/${path.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '')}`
const item = (path) => ({ text: titleOf(pages.get(path)), link: linkTo(path) })
const below = (folder, ...first) => {
  const found = paths.filter((path) => path.startsWith(`${folder}/`)).toSorted()
  return [...first, ...found.filter((path) => !first.includes(path))].map(item)
}
/** By title; what is in no group comes last, so that every page is found. */
const groups = [
  { text: 'Start', items: [item('index.md'), item('pictures.md'), item('terminal.md'), item('examples.md')] },
  { text: 'Guide', items: [item('guide/index.md'), ...sections], collapsed: false },
  { text: 'Recipes', items: below('recipes', 'recipes/index.md'), collapsed: true },
  { text: 'Coming from', items: below('coming-from'), collapsed: true },
  { text: 'Storages', items: below('engines', 'engines/index.md'), collapsed: true },
  {
    text: 'Operation',
    items: ['operating.md', 'deploy.md', 'server.md', 'failures.md', 'versions.md', 'benchmarks.md'].map(item),
    collapsed: true,
  },
  { text: 'SQL and PGMQ', items: ['pgmq.md', 'pgmq-functions.md', 'sql.md'].map(item), collapsed: true },
  { text: 'Packages', items: below('packages', 'packages/tidings.md'), collapsed: true },
  { text: 'Reference', items: below('reference'), collapsed: true },
  {
    text: 'Project',
    items: [item('architecture.md'), item('decisions/index.md'), ...below('project')],
    collapsed: true,
  },
]
const grouped = new Set(groups.flatMap(({ items }) => items.map(({ link }) => link)))
const others = paths.filter((path) => !grouped.has(linkTo(path)) && !path.startsWith('decisions/'))
if (others.length > 0) groups.push({ text: 'More', items: others.toSorted().map(item), collapsed: true })

/** Drawn now, once for each theme: nothing of it runs in the reader's browser, and no font is asked for. */
function drawing(code, alt) {
  const name = createHash('sha256').update(code).digest('hex').slice(0, 12)
  mkdirSync(join(source, 'public/drawings'), { recursive: true })
  const themes = {
    light: { bg: '#ffffff', fg: '#3c3c43', muted: '#51515c', line: '#6a6a75' },
    dark: { bg: '#1b1b1f', fg: '#dfdfd6', muted: '#b8b8b0', line: '#a0a09a' },
  }
  const images = Object.entries(themes).map(([theme, colors]) => {
    const svg = renderMermaidSVG(code, colors).replaceAll(/\s*@import url\([^)]*\);/g, '')
    writeFileSync(join(source, `public/drawings/${name}-${theme}.svg`), svg)
    const [, width, height] = /width="([\d.]+)" height="([\d.]+)"/.exec(svg)
    return `<img class="${theme}-only" src="/drawings/${name}-${theme}.svg" alt="${alt}" width="${Math.round(width)}" height="${Math.round(height)}">`
  })
  return `<div class="drawing" tabindex="0">${images.join('')}</div>\n`
}

function drawings(md) {
  const { fence } = md.renderer.rules
  md.renderer.rules.fence = (tokens, index, ...rest) => {
    if (tokens[index].info.trim() !== 'mermaid') return fence(tokens, index, ...rest)
    const heading = tokens.slice(0, index).findLastIndex(({ type }) => type === 'heading_open')
    return drawing(tokens[index].content, md.utils.escapeHtml(`Drawing: ${tokens[heading + 1]?.content ?? ''}`))
  }
}

export default {
  title: 'Tidings',
  description: 'Durable message queues and a message bus for TypeScript, on the storage you already have',
  lang: 'en',
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  srcDir: '.cache/pages',
  outDir: 'dist',
  cacheDir: '.cache/vite',
  base: process.env.TIDINGS_SITE_BASE ?? '/',
  markdown: {
    html: false,
    config: drawings,
    anchor: { slugify },
    toc: { slugify },
    languageAlias: { console: 'shellsession' },
  },
  themeConfig: {
    search: { provider: 'local' },
    sidebar: groups,
    outline: [2, 3],
    nav: [
      { text: 'Guide', link: '/guide/' },
      { text: 'Recipes', link: '/recipes/' },
      { text: 'Reference', link: '/reference/options' },
    ],
  },
}
