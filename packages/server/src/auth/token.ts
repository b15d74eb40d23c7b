import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { show, TidingsError } from 'tidings/internal/core/errors'
import { matchesGlob } from 'tidings/internal/core/glob'
import * as option from 'tidings/internal/core/options'
import { checkPattern, covers } from 'tidings/internal/core/pattern'
import { parseIsoTime } from 'tidings/internal/messages/options'
import { type Scope, scopes } from '../http/route.ts'
import type { Caller } from './caller.ts'
import { type Glob, globsOption } from './globs.ts'

/** What the configuration or the token file says of one token. The token itself is nowhere but with its user. */
export const tokenOptions = {
  name: option.text('Whose token it is; stands in the log.', { default: null, check: checkName }),
  hash: option.text("What `tidings token create` printed: 'sha256:…'.", { default: null, check: checkHash }),
  scopes: option.value<readonly Scope[], readonly Scope[]>('What it is good for.', {
    default: [],
    defaultText: 'none',
    typeText: "array of 'send', 'receive', 'admin', 'read'",
    parse: parseScopes,
  }),
  queues: globsOption('The queues and topics that exist for it; `*` stands for any characters.'),
  keys: option.value<readonly string[], readonly string[] | null>(
    'Patterns of the routing keys under which it may publish, whatever is bound to them, and to which it may bind.',
    {
      default: null,
      defaultText: "'#' for a token of all queues, else none",
      typeText: 'array of patterns',
      parse: parsePatterns,
    },
  ),
  expires: option.value<string, number | null>('From then on it is not good any more.', {
    default: null,
    defaultText: 'never',
    typeText: 'ISO 8601 text',
    parse: parseExpiry,
  }),
  rate: option.integer('Requests a second; as many may come at once.', {
    default: null,
    defaultText: 'no limit',
    min: 1,
    max: 1_000_000,
  }),
} as const
export type TokenOptions = option.OptionsInput<typeof tokenOptions>

/** @throws CONFIG_INVALID for one without a name, hash or scope, and what the options throw */
export function parseToken(input: unknown, path: string): Token {
  const given = option.parseOptions(tokenOptions, input, path)
  const lacking = given.name === null ? 'name' : given.hash === null ? 'hash' : given.scopes.length === 0 && 'scopes'
  if (lacking)
    throw new TidingsError('CONFIG_INVALID', `${path} has no ${lacking}`, {
      details: { field: `${path}.${lacking}` },
      hint: 'Give it a name and scopes: `tidings token create --name … --scopes …` makes a whole line for the token file.',
    })
  return new Token(given)
}

export class Token implements Caller {
  readonly name: string
  readonly rate: number | null
  readonly expires: number
  /** All that was said of it: two with the same are one. */
  readonly definition: string
  readonly #withdrawn = new AbortController()
  readonly #hash: Buffer
  readonly #scopes: ReadonlySet<Scope>
  readonly #globs: readonly Glob[]
  readonly #keys: readonly string[]

  constructor(given: option.OptionsOutput<typeof tokenOptions>) {
    const { name, hash, scopes, queues, keys, expires, rate } = given
    this.name = name ?? ''
    this.rate = rate
    this.#hash = Buffer.from((hash ?? '').slice(hashPrefix.length), 'hex')
    this.#scopes = new Set(scopes)
    this.#globs = queues
    this.#keys = keys ?? (queues.includes('*') ? ['#'] : [])
    this.expires = expires ?? Number.POSITIVE_INFINITY
    this.definition = JSON.stringify(given)
    // One listens for every request under way.
    setMaxListeners(0, this.withdrawn)
  }

  /** @param digest of what was presented; compared in constant time */
  is(digest: Buffer, now: number): boolean {
    return timingSafeEqual(this.#hash, digest) && now < this.expires
  }

  get withdrawn(): AbortSignal {
    return this.#withdrawn.signal
  }

  /** It is gone, or says something else now: ends what still runs by it. */
  withdraw(): void {
    this.#withdrawn.abort()
  }

  has(scope: Scope): boolean {
    return this.#scopes.has(scope)
  }

  sees(name: string): boolean {
    return this.#globs.some((glob) => matchesGlob(glob, name))
  }

  get seesAll(): boolean {
    return this.#globs.includes('*')
  }

  allows(scope: Scope, name: string): boolean {
    return this.has(scope) && this.sees(name)
  }

  publishes(keyOrPattern: string): boolean {
    return this.#keys.some((pattern) => covers(pattern, keyOrPattern))
  }
}

const hashPrefix = 'sha256:'
const tokenPrefix = 'tdg_'

/** A new secret, and what is kept of it. The prefix lets scanners of repositories know it. */
export function newToken(): { readonly token: string; readonly hash: string } {
  const token = tokenPrefix + randomBytes(32).toString('base64url')
  return { token, hash: hashPrefix + digestOf(token).toString('hex') }
}

/** A token is random through and through, so that a plain hash keeps it as safe as a slow one would. */
export const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest()

function checkName(value: string, path: string): void {
  if (/^[\w.@ -]{1,64}$/.test(value)) return
  throw new TidingsError('CONFIG_INVALID', `${path} is ${show(value)}; it must be 1 to 64 letters, digits, or ._@- `, {
    details: { field: path },
  })
}

function checkHash(value: string, path: string): void {
  if (/^sha256:[0-9a-f]{64}$/.test(value)) return
  // What stands there may be the token itself, so it is not shown.
  throw new TidingsError('CONFIG_INVALID', `${path} is not 'sha256:' with 64 hexadecimal digits`, {
    details: { field: path },
    hint: 'It is the hash of the token that belongs here, as `tidings token create` prints it, not the token.',
  })
}

function parseScopes(value: unknown, path: string): readonly Scope[] {
  const expected = `an array of ${scopes.map((scope) => `'${scope}'`).join(', ')}`
  if (!Array.isArray(value)) throw option.typeError(path, value, expected)
  const wrong = value.find((one) => !scopes.includes(one))
  if (wrong !== undefined) throw option.typeError(path, wrong, expected)
  return value
}

function parsePatterns(value: unknown, path: string): readonly string[] {
  if (!Array.isArray(value)) throw option.typeError(path, value, 'an array of patterns')
  return value.map((one) => checkPattern(one, path))
}

function parseExpiry(value: unknown, path: string): number {
  const time = typeof value === 'string' ? parseIsoTime(value) : value instanceof Date ? value.getTime() : Number.NaN
  if (Number.isNaN(time)) throw option.typeError(path, value, "an ISO 8601 text: '2030-01-31'")
  return time
}
