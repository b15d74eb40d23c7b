import { readFile } from 'node:fs/promises'
import type { Reply } from './route.ts'

/**
 * The documentation for people: Swagger UI on the document beside the page. Scripts, styles and data come from this server
 * only.
 */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

export const docsPage: Reply = {
  status: 200,
  type: 'text/html; charset=utf-8',
  headers: { 'Content-Security-Policy': policy },
  text: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tidings over HTTP</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script defer src="docs/swagger-ui.js"></script>
<script defer src="docs/page.js"></script>
<link rel="stylesheet" href="docs/page.css">
</head>
<body>
<noscript>This page needs scripts, which come from this server only. For programs: <a href="openapi.json">openapi.json</a></noscript>
<div id="docs"></div>
</body>
</html>
`,
}

const style = `body{margin:0}
noscript{display:block;padding:1rem;font-family:system-ui,sans-serif}
html.dark-mode{background:#1c2022}
@media(max-width:40rem){.swagger-ui .opblock-summary-operation-id{display:none}}
`

/** Starts Swagger UI. Its own filter looks at tags only. */
const start = `const dark = matchMedia('(prefers-color-scheme: dark)')
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', follow)
follow()
const search = () => ({
  fn: {
    opsFilter(tags, phrase) {
      const words = phrase.toLowerCase().split(/\\s+/)
      const has = (one) => {
        const { method, path, operation } = one.toJS()
        const text = [method, path, operation.operationId, operation.summary, operation.description].join(' ').toLowerCase()
        return words.every((word) => text.includes(word))
      }
      return tags
        .map((tag) => tag.update('operations', (operations) => operations.filter(has)))
        .filter((tag) => tag.get('operations').size > 0)
    },
  },
})
const name = () => {
  document.querySelector('.operation-filter-input')?.setAttribute('placeholder', 'Search routes')
  document.querySelector('.operation-filter-input')?.setAttribute('aria-label', 'Search routes')
}
SwaggerUIBundle({
  url: 'openapi.json', dom_id: '#docs', plugins: [search], filter: true, deepLinking: true, displayOperationId: true,
  validatorUrl: null, defaultModelsExpandDepth: 0, onComplete: name,
})
`

const scriptType = 'text/javascript; charset=utf-8'
const styleType = 'text/css; charset=utf-8'

/** What the page is made of, by the path below it. */
const parts: Readonly<Record<string, { readonly type: string; readonly text: () => Promise<string> }>> = {
  'page.css': { type: styleType, text: async () => style },
  'page.js': { type: scriptType, text: async () => start },
  'swagger-ui.js': { type: scriptType, text: () => fromPackage('swagger-ui.js') },
  'swagger-ui.css': { type: styleType, text: () => fromPackage('swagger-ui.css') },
}
export const docsParts = Object.entries(parts).map(([name, { type, text }]) => ({
  name,
  type,
  handle: async (): Promise<Reply> => ({
    status: 200,
    type,
    text: await text(),
    headers: { 'Cache-Control': 'max-age=3600' },
  }),
}))

/** scripts/build.mjs puts it there. */
const fromPackage = (name: string) => readFile(new URL(`../../vendor/${name}`, import.meta.url), 'utf8')
