import type { MiddlewareHandler } from 'hono'
import { show, TidingsError } from 'tidings/internal/core/errors'
import type { AppContext, AppEnv } from '../app/context.ts'
import { isLoopback } from '../app/options.ts'

type Guard = MiddlewareHandler<AppEnv>

/** What the page sends with every request that changes something. A form of another site cannot. */
const ownHeader = 'x-tidings-dashboard'

/** Only its own script and style, no frames around it, and requests to where it comes from. */
export const documentPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** What is put there by what passes requests on. */
const proxyHeaders = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip']

/**
 * Whether a request surely comes from this machine: by its connection, through no proxy that says so, and under a name
 * of this machine, which one of a page that has another name lead here has not (DNS rebinding).
 */
export function isFromThisMachine({ req, env }: AppContext): boolean {
  const address = env?.incoming?.socket?.remoteAddress
  if (address === undefined || !isLoopback(address.replace(/^::ffff:/i, ''))) return false
  return isLoopback(new URL(req.url).hostname) && proxyHeaders.every((name) => req.header(name) === undefined)
}

/**
 * Pages of other sites get nothing and change nothing, whatever the browser sends along.
 * @param isVouchedFor whether the caller has shown who it is: then a proxy may have another name than the server
 * @throws ORIGIN_REFUSED
 */
export const checkSource =
  (isVouchedFor: () => boolean): Guard =>
  async ({ req }, next) => {
    const [origin, site] = [req.header('Origin'), req.header('Sec-Fetch-Site')]
    const isReading = req.method === 'GET' || req.method === 'HEAD'
    if (site !== undefined && site !== 'same-origin' && !(isReading && site === 'none'))
      throw refused(`the request comes from another site: Sec-Fetch-Site is ${show(site)}`, origin)
    // Where a proxy has changed Host, the browser itself still knows that the page comes from there.
    const isSame = site === 'same-origin' && isVouchedFor()
    if (origin !== undefined && !isSame && !isOfHost(origin, req.url))
      throw refused(`the request comes from ${show(origin)}`, origin)
    if (!isReading && req.header(ownHeader) !== '1')
      throw refused(`the request changes something and lacks the header '${ownHeader}: 1'`, origin)
    return next()
  }

/** Behind a proxy the scheme may differ. */
const isOfHost = (origin: string, url: string) => URL.canParse(origin) && new URL(origin).host === new URL(url).host

const refused = (message: string, origin: string | undefined) =>
  new TidingsError('ORIGIN_REFUSED', message, {
    details: { origin: origin ?? null },
    hint: "Only the dashboard's own page may do this. Programs use /v1 of `tidings serve`.",
  })
