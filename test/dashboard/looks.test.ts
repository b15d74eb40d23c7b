import axe from 'axe-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { openShop } from './harness.ts'
import { viewsOf } from './views.ts'

const shop = openShop()
/** So that there is a process to be shown. It handles nothing, and ends with the bus. */
beforeAll(() => void shop.bus.queue('reports').work(() => {}))

interface Finding {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** What people with a screen reader, a keyboard or weak eyes would stumble over. */
const seriousFindings = `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
  violations.filter(({ impact }) => impact === 'serious' || impact === 'critical'))`

describe.each(['light', 'dark'] as const)('every page, %s', (colorScheme) => {
  test('is free of serious findings of axe', async () => {
    const look = await shop.look('', { colorScheme })
    const found: Record<string, readonly string[]> = {}
    for (const [name, path] of await viewsOf(shop.bus)) {
      await look.go(path)
      await look.page.evaluate(axe.source)
      const findings = (await look.page.evaluate(seriousFindings)) as readonly Finding[]
      if (findings.length > 0)
        found[name] = findings.flatMap(({ id, nodes }) =>
          nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
        )
    }
    expect(found).toEqual({})
  }, 300_000)
})

test('every page fits into 360 px', async () => {
  const look = await shop.look('', { viewport: { width: 360, height: 740 } })
  const tooWide: unknown[] = []
  for (const [name, path] of await viewsOf(shop.bus)) {
    await look.go(path)
    const width = await look.page.evaluate('document.documentElement.scrollWidth')
    if (width !== 360) tooWide.push([name, width])
  }
  expect(tooWide).toEqual([])
}, 300_000)
