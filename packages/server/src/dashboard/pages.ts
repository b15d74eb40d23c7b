import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { AppContext } from '../app/context.ts'

/** Where the build puts the pages. The same from the sources and from what is compiled of them. */
const built = new URL('../../dist/dashboard/pages/', import.meta.url)

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
}
/** What gains nothing by it is compressed already. */
const isCompressible = (type: string) => /^(text|application|image\/svg)/.test(type)

interface Page {
  readonly type: string
  readonly body: Buffer
  readonly compressed: Buffer | null
  readonly etag: string
}

/** The document and its parts: read once, so that no request reaches the file system. */
export class Pages {
  readonly document: Page
  readonly #assets: ReadonlyMap<string, Page>

  /** @param basePath where the document cannot find its parts by itself */
  constructor(basePath: string | null) {
    const html = readFileSync(new URL('index.html', built), 'utf8')
    this.document = toPage('.html', Buffer.from(basePath === null ? html : html.replaceAll('="./', `="${basePath}/`)))
    this.#assets = new Map(
      readdirSync(new URL('assets/', built)).map((name) => [
        name,
        toPage(extname(name), readFileSync(new URL(`assets/${name}`, built))),
      ]),
    )
  }

  asset(name: string): Page | undefined {
    return this.#assets.get(name)
  }
}

function toPage(extension: string, body: Buffer): Page {
  const type = types[extension] ?? 'application/octet-stream'
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  return { type, body, compressed: isCompressible(type) ? gzipSync(body, { level: 9 }) : null, etag }
}

/** Answers with a page, or that it has not changed. */
export function answerPage(context: AppContext, page: Page, caching: string): Response {
  context.header('Cache-Control', caching)
  context.header('ETag', page.etag)
  context.header('Vary', 'Accept-Encoding')
  if (isKnown(context.req.header('If-None-Match'), page.etag)) return context.body(null, 304)
  // Without a socket of Node in hand, a framework stands between, and that says itself how bodies travel: Next.js takes the
  // header away from one that is compressed.
  const asks =
    'incoming' in context.env &&
    /(^|[\s,])gzip\s*(?!;\s*q=0(\.0*)?\s*(,|$))(;|,|$)/.test(context.req.header('Accept-Encoding') ?? '')
  const body = asks && page.compressed ? page.compressed : page.body
  if (body === page.compressed) context.header('Content-Encoding', 'gzip')
  return context.body(new Uint8Array(body), 200, { 'Content-Type': page.type })
}

const isKnown = (given: string | undefined, etag: string) =>
  given !== undefined &&
  (given.trim() === '*' || given.split(',').some((one) => one.trim().replace(/^W\//, '') === etag))
