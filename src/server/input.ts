import { show, TidingsError } from '../errors.ts'
import { fromJson } from '../json.ts'
import * as option from '../options.ts'

/**
 * Checks what stands in the query of a URL. A name alone means true.
 * @throws TYPE, RANGE and the like, OPTION_UNKNOWN
 */
export function parseQuery<S extends option.OptionSchema>(schema: S, query: URLSearchParams): option.OptionsOutput<S> {
  const given = [...new Set(query.keys())].map((name) => {
    const kind = schema[name]?.kind
    const texts = query.getAll(name)
    return [name, kind === 'list' ? texts.flatMap((text) => text.split(',')) : fromText(kind, texts.at(-1)!)] as const
  })
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

/**
 * Checks the body of a request. One without text is an empty object.
 * @throws CONTENT_TYPE, BODY_NOT_JSON; TYPE, RANGE and the like, OPTION_UNKNOWN
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
  return option.parseJsonOptions(schema, readJson(bytes), 'the body')
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return fromJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    // The stack ran out.
    if (cause instanceof RangeError) throw new TidingsError('BODY_TOO_DEEP', 'the body is nested too deeply', { cause })
    const why = cause instanceof SyntaxError ? `: ${cause.message.slice(0, 100)}` : ', it is not UTF-8'
    throw new TidingsError('BODY_NOT_JSON', `the body is not JSON${why}`, {
      cause,
      hint: 'Send a JSON object.',
    })
  }
}
