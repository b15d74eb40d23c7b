import type { MiddlewareHandler } from 'hono'
import { show, TidingsError } from 'tidings/internal/core/errors'
import type { AppEnv } from './context.ts'

type Guard = MiddlewareHandler<AppEnv>

const maxUrlBytes = 8_192

const everywhere: readonly (readonly [string, string])[] = [
  ['X-Content-Type-Options', 'nosniff'],
  ['X-Frame-Options', 'DENY'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Cache-Control', 'no-store'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
]

/** What every answer carries, unless the route has said otherwise. */
export const securityHeaders =
  (hasTls: boolean): Guard =>
  async (context, next) => {
    await next()
    const { headers } = context.res
    for (const [name, value] of everywhere) if (!headers.has(name)) headers.set(name, value)
    if (hasTls) headers.set('Strict-Transport-Security', 'max-age=31536000')
  }

/** @throws URL_TOO_LONG, REQUEST_INVALID for percent-encoding that stands for nothing */
export const checkUrl: Guard = async (context, next) => {
  const { url } = context.req
  if (url.length > maxUrlBytes)
    throw new TidingsError('URL_TOO_LONG', `the URL has ${url.length} characters; at most ${maxUrlBytes}`, {
      details: { maxUrlBytes },
    })
  const { pathname } = new URL(url)
  let path: string
  try {
    path = decodeURIComponent(pathname)
  } catch {
    throw new TidingsError('REQUEST_INVALID', `the path ${show(pathname)} has a '%' that stands for no character`)
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
  if (/[\u0000-\u001f\u007f]/.test(path))
    throw new TidingsError('REQUEST_INVALID', `the path ${show(pathname)} has a control character`)
  return next()
}

/**
 * A page of another site could have its own name lead here (DNS rebinding); its requests name that host.
 * @param names in lower case; IPv6 addresses in brackets
 * @param applies to a request
 * @throws HOST_UNKNOWN
 */
export const checkHost =
  (names: ReadonlySet<string>, applies: (request: Request) => boolean): Guard =>
  async (context, next) => {
    const { hostname } = new URL(context.req.url)
    if (applies(context.req.raw) && !names.has(hostname.toLowerCase()))
      throw new TidingsError('HOST_UNKNOWN', `the server is not known as ${show(hostname)}`, { details: { hostname } })
    return next()
  }

const corsHeaders = {
  methods: 'GET, HEAD, POST, PUT, DELETE',
  headers: 'Authorization, Content-Type, X-API-Key, Tidings-Data',
}

/**
 * Browsers say from where a request comes; other clients say nothing, and are let through.
 * @param origins of other sites that may use the server
 * @param further paths beside those of /v1 that do something
 * @throws ORIGIN_REFUSED
 */
export const checkOrigin =
  (origins: ReadonlySet<string>, further: ReadonlySet<string>): Guard =>
  async (context, next) => {
    const { req } = context
    const does = req.path.startsWith('/v1/') || further.has(req.path)
    const origin = req.header('Origin')
    const isListed = origin !== undefined && origins.has(origin)
    if (isListed) {
      context.header('Access-Control-Allow-Origin', origin)
      context.header('Access-Control-Expose-Headers', 'Allow, Retry-After')
    }
    if (origins.size > 0) context.header('Vary', 'Origin')
    if (isListed && req.method === 'OPTIONS' && req.header('Access-Control-Request-Method')) {
      context.header('Access-Control-Allow-Methods', corsHeaders.methods)
      context.header('Access-Control-Allow-Headers', corsHeaders.headers)
      context.header('Access-Control-Max-Age', '600')
      return context.body(null, 204)
    }
    if (!isListed && isForeign(req.url, does, req.method, origin, req.header('Sec-Fetch-Site')))
      throw new TidingsError('ORIGIN_REFUSED', `the request comes from ${show(origin ?? 'another site')}`, {
        details: { origin: origin ?? null },
      })
    return next()
  }

/** Reading can lease messages, so that it counts, too; the pages of documentation may be linked to. */
function isForeign(url: string, does: boolean, method: string, origin: string | undefined, site: string | undefined) {
  if (site === 'cross-site' || site === 'same-site') return does
  if (origin === undefined || method === 'GET' || method === 'HEAD') return false
  // Behind a proxy the scheme may differ.
  return !URL.canParse(origin) || new URL(origin).host !== new URL(url).host
}
