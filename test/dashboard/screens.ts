import { mkdir, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { openShop } from './harness.ts'
import { viewsOf } from './views.ts'

/** `npm run dashboard:screens`: for people to look at. */
const folder = fileURLToPath(new URL('../../.tidings/screens/', import.meta.url))
const widths = [360, 1280, 2560] as const
const themes = ['light', 'dark'] as const

const shop = openShop()

test('pictures of every page, at three widths in both themes', async () => {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const views = await viewsOf(shop.bus)
  for (const colorScheme of themes)
    for (const width of widths) {
      const look = await shop.look('', { colorScheme, viewport: { width, height: width === 360 ? 740 : 900 } })
      for (const [name, path] of views) {
        await look.go(path)
        const file = `${name}-${width}-${colorScheme}.png`
        await look.page.screenshot({ path: folder + file, fullPage: true })
      }
    }
  await writeFile(`${folder}index.html`, indexOf(views.map(([name]) => name)))
}, 900_000)

function indexOf(names: readonly string[]): string {
  const picture = (name: string, width: number, theme: string) => {
    const file = `${name}-${width}-${theme}.png`
    return `<a href="${file}"><img src="${file}" alt="${name}, ${width} px, ${theme}" width="${width / 4}" loading="lazy"></a>`
  }
  const row = (name: string) =>
    `<h2>${name}</h2>\n${themes.flatMap((theme) => widths.map((width) => picture(name, width, theme))).join('\n')}`
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The dashboard of Tidings</title>
<style>body { font: 16px system-ui; background: #888 } img { border: 1px solid #444; vertical-align: top }</style>
<h1>The dashboard: every page at ${widths.join(', ')} px</h1>
${names.map(row).join('\n')}
</html>
`
}
