// Follows every link of the built site, anchors too; nothing may be loaded from elsewhere.
import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'

const out = fileURLToPath(new URL('dist/', import.meta.url))
const base = process.env.TIDINGS_SITE_BASE ?? '/'

export function checkSite() {
  const files = new Set(readdirSync(out, { recursive: true, encoding: 'utf8' }))
  const texts = new Map()
  const textOf = (file) => texts.get(file) ?? texts.set(file, readFileSync(out + file, 'utf8')).get(file)
  const names = new Map()
  const namesIn = (file) =>
    names.get(file) ??
    names.set(file, new Set([...textOf(file).matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id))).get(file)
  const problems = []

  function check(from, link) {
    const [path, anchor] = link.split('#')
    if (path === '' && anchor === '') return
    const below = path.startsWith(base) ? path.slice(base.length) : posix.join(posix.dirname(from), path)
    const wanted = path === '' ? from : decodeURI(below)
    const file = [wanted, posix.join(wanted, 'index.html')].find((one) => files.has(one) && /\.\w+$/.test(one))
    if (file === undefined) problems.push(`${from}: ${link} leads nowhere`)
    else if (anchor && file.endsWith('.html') && !namesIn(file).has(decodeURIComponent(anchor)))
      problems.push(`${from}: ${link}: no such place on the page`)
  }

  const pages = [...files].filter((file) => file.endsWith('.html'))
  for (const page of pages) {
    const tags = textOf(page).matchAll(/<(\w+)\b[^>]*?\s(?:href|src)="([^"]*)"/g)
    for (const [, tag, found] of tags) {
      const link = found.replaceAll('&amp;', '&')
      if (/^(data|mailto):/.test(link)) continue
      if (!/^(\w+:)?\/\//.test(link)) check(page, link)
      else if (tag !== 'a') problems.push(`${page}: <${tag}> loads ${link}`)
    }
  }
  for (const file of files) {
    if (file.endsWith('.md') || file === 'llms.txt')
      for (const [, link] of textOf(file)
        .replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '')
        .matchAll(/\]\(([^)#]+)[^)]*\)/g))
        if (!/^\w+:/.test(link)) check(file, link)
    if (/\.(css|svg)$/.test(file) && /@import|url\(["']?(https?:)?\/\//.test(textOf(file)))
      problems.push(`${file} loads from elsewhere`)
  }
  return { pages: pages.length, problems }
}
