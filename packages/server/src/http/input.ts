import { show, TidingsError } from 'tidings/internal/core/errors'
import { decodeText, maxJsonDepth, parseJson } from 'tidings/internal/core/json'
import * as option from 'tidings/internal/core/options'

/**
 * Checks what stands in the query of a URL. A name alone means true.
 * @throws TYPE, RANGE and the like, OPTION_UNKNOWN; OPTION_CONFLICT for a name given twice
 */
export function parseQuery<S extends option.OptionSchema>(schema: S, query: URLSearchParams): option.OptionsOutput<S> {
  const given = new Map<string, unknown>()
  for (const [name, text] of query) {
    const kind = schema[name]?.kind
    const before = given.get(name)
    if (before !== undefined && kind !== 'list')
      throw new TidingsError('OPTION_CONFLICT', `${show(name)} is given twice in the query`, {
        details: { field: name },
      })
    given.set(name, kind === 'list' ? [...((before as string[]) ?? []), ...text.split(',')] : fromText(kind, text))
  }
  return option.parseOptions(schema, Object.fromEntries(given), 'the query')
}

/** Python writes True, others 1. */
const isTrue = /^(true|1|)$/i
const isFalse = /^(false|0)$/i

function fromText(kind: string | undefined, text: string): unknown {
  if (kind === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text)
  if (kind === 'boolean') return isTrue.test(text) ? true : isFalse.test(text) ? false : text
  return text
}

/** Data stand a few levels deep in a body. */
const maxDepth = maxJsonDepth + 10

/**
 * Checks the body of a request. One without text is an empty object.
 * @throws CONTENT_TYPE; BODY_NOT_JSON, BODY_TOO_DEEP; TYPE, RANGE and the like, OPTION_UNKNOWN
 */
export function parseBody<S extends option.OptionSchema>(
  schema: S,
  bytes: Uint8Array,
  headers: { readonly contentType: string | undefined; readonly contentEncoding: string | undefined },
): option.OptionsOutput<S> {
  if (bytes.length === 0) return option.parseJsonOptions(schema, {}, 'the body')
  const { contentType, contentEncoding } = headers
  if (contentEncoding !== undefined && contentEncoding !== 'identity')
    throw new TidingsError('CONTENT_TYPE', `the body is encoded as ${show(contentEncoding)}`)
  if (!/^application\/(json|[\w.-]+\+json)\s*(;|$)/i.test(contentType ?? ''))
    throw new TidingsError('CONTENT_TYPE', `the body is ${contentType ? show(contentType) : 'of no type'}, not JSON`)
  const [, charset] = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType!) ?? []
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset))
    throw new TidingsError('CONTENT_TYPE', `the body is in ${show(charset)}, not UTF-8`)
  return option.parseJsonOptions(schema, parseJson(decodeText(bytes, 'the body'), 'the body', '', maxDepth), 'the body')
}
