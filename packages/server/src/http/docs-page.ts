import { createHash } from 'node:crypto'
import type { JsonSchema } from 'tidings/internal/core/options'
import type { OpenApi, Operation, Parameter } from './openapi.ts'

type Page = { readonly text: string; readonly type: string; readonly headers: Readonly<Record<string, string>> }

/** The document as one page of HTML: no scripts, and nothing is loaded from anywhere. */
export function docsPage(document: OpenApi): Page {
  return {
    type: 'text/html; charset=utf-8',
    headers: {
      'Content-Security-Policy': `default-src 'none'; style-src '${styleHash}'; frame-ancestors 'none'; base-uri 'none'`,
    },
    text: pageOf(document),
  }
}

function pageOf({ info, tags, paths }: OpenApi): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  )
  const sections = tags.map(({ name }) => {
    const own = operations.filter(({ operation }) => operation.tags.includes(name))
    return { name, id: `tag-${slug(name)}`, own }
  })
  const links = sections.map(
    ({ name, id, own }) => `<li><a href="#${id}">${escapeHtml(name)}</a> <small>${own.length}</small></li>`,
  )
  const parts = sections.map(
    ({ name, id, own }) => `<section id="${id}"><h2>${escapeHtml(name)}</h2>${own.map(operationOf).join('')}</section>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(info.title)} ${escapeHtml(info.version)}</title>
<style>${style}</style>
</head>
<body>
<header><h1>${escapeHtml(info.title)} <small>${escapeHtml(info.version)}</small></h1>
${paragraphs(info.description)}
<p>For programs: <a href="openapi.json">openapi.json</a></p></header>
<nav aria-label="Parts"><ul>${links.join('')}</ul></nav>
<main>${parts.join('\n')}</main>
</body>
</html>
`
}

function operationOf({ method, path, operation }: { method: string; path: string; operation: Operation }): string {
  const { operationId, summary, description, parameters, requestBody, responses } = operation
  const body = Object.values(requestBody?.content ?? {})[0]?.schema
  const answers = Object.entries(responses).filter(([status]) => status !== 'default')
  const parts = [
    description ? paragraphs(description) : '',
    parameters.length > 0 ? `<h3>Parameters</h3>${fieldTable(parameters.map(parameterRow))}` : '',
    body ? `<h3>Body</h3>${fieldsOf(body)}` : '',
    `<h3>Answers</h3>${answers.map(answerOf).join('')}`,
  ]
  return `<details id="${operationId}"><summary><b class="${method}">${method.toUpperCase()}</b> <code>${breakable(path)}</code> <span>${escapeHtml(summary)}</span> ${rightOf(operation)}</summary><div>${parts.join('')}</div></details>`
}

function rightOf({ security }: Operation): string {
  if (security.length === 0) return '<i>no token</i>'
  const [scope] = Object.values(security[0] ?? {}).flat()
  return scope === undefined ? '<i>any token</i>' : `<i>${escapeHtml(String(scope))}</i>`
}

interface Row {
  readonly name: string
  readonly type: string
  /** 'required'. Empty: what goes without saying. */
  readonly note: string
  readonly doc: string
}

const parameterRow = ({ name, in: where, schema, required, description }: Parameter): Row => ({
  name,
  type: `${where === 'path' ? 'in the path, ' : ''}${typeOf(schema)}`,
  note: required ? 'required' : '',
  doc: description,
})

function fieldTable(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ name, type, note, doc }) =>
      `<dt><code>${escapeHtml(name)}</code> <small>${escapeHtml(type)}${note && `, ${note}`}</small></dt><dd>${inline(doc)}</dd>`,
  )
  return `<dl>${lines.join('')}</dl>`
}

function fieldsOf(schema: JsonSchema): string {
  const rows = rowsOf(schema, (isRequired) => (isRequired ? 'required' : ''))
  return rows.length > 0 ? fieldTable(rows) : '<p>Any JSON object.</p>'
}

/** The fields of an object; those within other objects follow with their path. */
function rowsOf(schema: JsonSchema, noteOf: (isRequired: boolean) => string, prefix = ''): Row[] {
  const properties = (schema.properties ?? {}) as Record<string, JsonSchema>
  const required = (schema.required ?? []) as readonly string[]
  return Object.entries(properties).flatMap(([name, one]) => {
    const plain = withoutNull(one)
    const path = `${prefix}${name}`
    const note = noteOf(required.includes(name))
    const row = { name: path, type: typeOf(one), note, doc: String(one.description ?? '') }
    const items = plain.items as JsonSchema | undefined
    return [row, ...rowsOf(plain, noteOf, `${path}.`), ...(items ? rowsOf(items, noteOf, `${path}[].`) : [])]
  })
}

function withoutNull(schema: JsonSchema): JsonSchema {
  const choices = schema.anyOf as readonly JsonSchema[] | undefined
  return choices?.find(({ type }) => type !== 'null') ?? schema
}

/** 'integer, 1 to 1000, default 1'. */
function typeOf(schema: JsonSchema): string {
  const plain = withoutNull(schema)
  const { type, enum: choices, minimum, maximum, format, items, oneOf, maxItems } = plain
  const name = choices
    ? (choices as readonly unknown[]).map((one) => `'${one}'`).join(' or ')
    : oneOf
      ? (oneOf as readonly JsonSchema[]).map(typeOf).join(' or ')
      : type === 'array'
        ? `list of ${typeOf((items ?? {}) as JsonSchema)}${maxItems === undefined ? '' : `, at most ${maxItems}`}`
        : [type ?? 'any JSON'].flat().join(' or ')
  const bounds = boundsOf(minimum, maximum)
  const initial = schema.default ?? plain.default
  const isOwn = initial !== undefined && initial !== ''
  return `${name}${format ? ` (${format})` : ''}${bounds}${isOwn ? `, default ${initial}` : ''}`
}

function boundsOf(minimum: unknown, maximum: unknown): string {
  if (minimum === undefined) return ''
  return maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
    ? `, at least ${minimum}`
    : `, ${minimum} to ${maximum}`
}

function answerOf([status, { description, content }]: [string, Operation['responses'][string]]): string {
  const schema = Object.values(content ?? {})[0]?.schema
  const rows = schema ? rowsOf(schema, (isRequired) => (isRequired ? '' : 'may be left out')) : []
  const kind = `${status[0]}xx`
  return `<div class="answer"><b class="s${kind}">${escapeHtml(status)}</b> ${paragraphs(description)}${rows.length > 0 ? fieldTable(rows) : ''}</div>`
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (one) => escapes[one]!)
const slug = (text: string) => text.toLowerCase().replaceAll(/\W+/g, '-')
/** Long paths break at their slashes. */
const breakable = (path: string) => escapeHtml(path).replaceAll('/', '/<wbr>')

/** The little of Markdown that descriptions use: code, lists and paragraphs. */
const inline = (text: string) => escapeHtml(text).replaceAll(/`([^`]+)`/g, '<code>$1</code>')
const paragraphs = (text: string) =>
  text
    .split('\n\n')
    .map((part) =>
      part.startsWith('- ')
        ? `<ul>${part
            .split(/\n?^- /m)
            .slice(1)
            .map((item) => `<li>${inline(item)}</li>`)
            .join('')}</ul>`
        : `<p>${inline(part)}</p>`,
    )
    .join('')

const style = `
:root{--back:#fff;--text:#1c2127;--dim:#5a6472;--line:#d9dee5;--soft:#f4f6f8;--link:#0b5cad;--get:#0b6b3a;--post:#0b5cad;--put:#8a5200;--delete:#b3261e}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--text:#e4e8ed;--dim:#9aa5b3;--line:#313842;--soft:#1d2228;--link:#7ab8ff;--get:#6fd39b;--post:#7ab8ff;--put:#f0b45f;--delete:#ff8d85}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0 auto;padding:1rem;max-width:64rem;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
h1{margin:.5rem 0;font-size:1.6rem}h2{margin:2rem 0 .5rem;font-size:1.25rem}h3{margin:1rem 0 .25rem;font-size:.95rem;color:var(--dim)}
p{margin:.4rem 0}a{color:var(--link)}small,i{color:var(--dim);font-weight:400}i{margin-left:auto;white-space:nowrap;font-size:.85rem}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:0;padding:.5rem 0;list-style:none;border-block:1px solid var(--line)}
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0}
summary{display:flex;flex-wrap:wrap;gap:.25rem .6rem;align-items:baseline;padding:.5rem .7rem;cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
summary:hover,details[open]>summary{background:var(--soft)}
summary>b{min-width:4.2rem;font:600 .85rem ui-monospace,monospace}
summary>span{color:var(--dim);font-size:.95rem}
details>div{padding:.2rem .9rem .9rem;border-top:1px solid var(--line)}
dl{margin:0}dt{margin-top:.4rem}dd{margin:0 0 0 1rem;color:var(--dim)}
.answer{margin:.3rem 0;padding-left:.6rem;border-left:3px solid var(--line)}.answer>p{display:inline}.answer>dl{margin-left:.6rem}
.get,.s2xx{color:var(--get)}.post{color:var(--post)}.put,.s3xx{color:var(--put)}.delete,.s4xx,.s5xx{color:var(--delete)}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
`
const styleHash = `sha256-${createHash('sha256').update(style).digest('base64')}`
