/*
 * The paths of the dashboard end in one of a few ways, whatever stands before: '/api/…', '/assets/…', or a slash for its
 * document. So it need not be told where it is mounted.
 */

export const documentPath = '/'
export const withoutSlashPath = '/without-slash'
export const sessionPath = '/session'
const nowhere = '/nowhere'

/**
 * Where the app has what is at the path.
 * @param place what stands before, if that is known
 * @param bare whether the document stands there without a slash, too
 */
export function pathWithin(pathname: string, place: string | null, bare: boolean): string {
  if (place === null) return pathAtEnd(pathname)
  // A framework may have cut it off, and what remains of it may lack its slash.
  const isBelow = pathname === place || pathname.startsWith(`${place}/`)
  const rest = isBelow ? pathname.slice(place.length) : pathname
  if (rest === '') return bare ? documentPath : withoutSlashPath
  return rest === '/' ? documentPath : (known(rest) ?? nowhere)
}

function pathAtEnd(pathname: string): string {
  // No route of the API has a name with a dot after that of a queue or topic, which may be 'assets'.
  const asset = pathname.match(/\/assets\/[^/]+\.\w+$/)
  const at = asset?.index ?? Math.max(lastOf(pathname, '/api/v1'), lastOf(pathname, '/api/session'))
  if (at >= 0) return known(pathname.slice(at)) ?? nowhere
  if (pathname.endsWith('/')) return documentPath
  // Without its slash the document would look for its parts in the wrong place. What looks like a file is none of it.
  return /\.\w+$/.test(pathname) ? nowhere : withoutSlashPath
}

/** The last one counts: the path before may have such a part, too. A name that only begins like it is another. */
const lastOf = (pathname: string, part: string) => `${pathname}/`.lastIndexOf(`${part}/`)

const known = (rest: string) =>
  /^\/assets\/./.test(rest) ? rest : /^\/api\/(v1|session)(\/|$)/.test(rest) ? rest.slice('/api'.length) : null
