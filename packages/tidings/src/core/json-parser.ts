import { show, TidingsError } from './errors.ts'

/** What a double holds at most. */
const maxSignificantDigits = 17

interface Rules {
  readonly maxDepth: number
  /** Of an integer: making a BigInt of more costs more than linear time. */
  readonly maxDigits: number
  /** Refuses what a reader would not get back as it was written: repeated keys, numbers that would be rounded. */
  readonly strict: boolean
}

/** An array or object that is being read. */
interface Frame {
  readonly list: unknown[] | null
  readonly entries: Map<string, unknown> | null
  key: string
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const space = /[ \t\n\r]*/y
const words = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
])

/**
 * Reads JSON text in linear time, whatever it is. An integer that a number cannot hold becomes a BigInt. Nesting is an
 * array, not the stack, so its depth is checked before anything is built from it.
 */
export class JsonParser {
  readonly #text: string
  readonly #what: string
  readonly #root: string
  readonly #rules: Rules
  readonly #frames: Frame[] = []
  #at = 0

  /**
   * @param what the text is: 'the body'
   * @param root how paths in it begin: 'data', or nothing
   */
  constructor(text: string, what: string, root: string, rules: Rules) {
    this.#text = text
    this.#what = what
    this.#root = root
    this.#rules = rules
  }

  /** @throws BODY_NOT_JSON, BODY_TOO_DEEP, each with the path */
  parse(): unknown {
    for (;;) {
      let value: unknown
      const opened = this.#open()
      if (opened === 'with members') continue
      value = opened === 'empty' ? this.#close() : this.#scalar()
      // What ends with this value is a value itself.
      for (;;) {
        const frame = this.#frames.at(-1)
        const next = this.#peek()
        if (frame === undefined) {
          if (next !== '') throw this.#unexpected()
          return value
        }
        if (frame.list) frame.list.push(value)
        else frame.entries!.set(frame.key, value)
        if (next === ',') {
          this.#at++
          if (frame.entries) this.#key(frame)
          break
        }
        if (next !== (frame.list ? ']' : '}')) throw this.#unexpected()
        value = this.#close()
      }
    }
  }

  /** The next character that is no white space; '' at the end. */
  #peek(): string {
    space.lastIndex = this.#at
    space.test(this.#text)
    this.#at = space.lastIndex
    return this.#text.charAt(this.#at)
  }

  #open(): 'with members' | 'empty' | 'no' {
    const bracket = this.#peek()
    if (bracket !== '[' && bracket !== '{') return 'no'
    const { maxDepth } = this.#rules
    if (this.#frames.length >= maxDepth)
      throw new TidingsError('BODY_TOO_DEEP', `${shorten(this.#path())} is nested deeper than ${maxDepth} levels`, {
        details: { path: this.#path(), maxDepth },
      })
    const frame = bracket === '[' ? { list: [], entries: null, key: '' } : { list: null, entries: new Map(), key: '' }
    this.#frames.push(frame)
    this.#at++
    if (this.#peek() === (frame.list ? ']' : '}')) return 'empty'
    if (frame.entries) this.#key(frame)
    return 'with members'
  }

  #close(): unknown {
    this.#at++
    const { list, entries } = this.#frames.pop()!
    // fromEntries defines properties, so a key `__proto__` stays plain data.
    return list ?? Object.fromEntries(entries!)
  }

  #key(frame: Frame): void {
    if (this.#peek() !== '"') throw this.#unexpected()
    frame.key = this.#string()
    if (this.#rules.strict && frame.entries!.has(frame.key)) throw this.#refused('is given twice')
    if (this.#peek() !== ':') throw this.#unexpected()
    this.#at++
  }

  #scalar(): unknown {
    const first = this.#peek()
    if (first === '"') return this.#string()
    for (const [word, value] of words)
      if (first === word[0] && this.#text.startsWith(word, this.#at)) {
        this.#at += word.length
        return value
      }
    number.lastIndex = this.#at
    const [token] = number.exec(this.#text) ?? []
    if (token === undefined) throw this.#unexpected()
    this.#at += token.length
    return this.#number(token)
  }

  #string(): string {
    const end = endOfString(this.#text, this.#at)
    const quoted = this.#text.slice(this.#at, end)
    try {
      const value = JSON.parse(quoted) as string
      this.#at = end
      return value
    } catch {
      throw this.#unexpected()
    }
  }

  #number(token: string): number | bigint {
    if (isLargeInteger(token)) {
      const { maxDigits } = this.#rules
      if (token.length <= maxDigits) return BigInt(token)
      throw this.#refused(`is an integer of ${token.length} digits; at most ${maxDigits}`)
    }
    const value = Number(token)
    if (this.#rules.strict && isRounded(token, value))
      throw this.#refused(`is ${shorten(token)}, which a number cannot hold`, 'Send it as a text.')
    return value
  }

  #path(): string {
    const steps = this.#frames.map(({ list, key }) => (list ? `[${list.length}]` : step(key)))
    const path = this.#root + steps.join('')
    return path.startsWith('.') ? path.slice(1) : path || this.#what
  }

  #unexpected(): TidingsError {
    return new TidingsError('BODY_NOT_JSON', `${this.#what} is not JSON: ${wordsOf(this.#text)}`, {
      details: { path: this.#path(), position: this.#at },
    })
  }

  #refused(why: string, hint?: string): TidingsError {
    const path = this.#path()
    return new TidingsError('BODY_NOT_JSON', `${shorten(path)} ${why}`, {
      details: { path },
      ...(hint === undefined ? {} : { hint }),
    })
  }
}

/** What Node says of text that is no JSON: it shows the place. */
function wordsOf(text: string): string {
  try {
    JSON.parse(text)
    return 'it cannot be read'
  } catch (error) {
    return (error as Error).message.slice(0, 100)
  }
}

/** How an error's path goes on to a property. */
export const step = (key: string) => (/^[A-Za-z_$][\w$]{0,59}$/.test(key) ? `.${key}` : `[${show(key)}]`)
export const shorten = (path: string) => (path.length > 60 ? `${path.slice(0, 57)}...` : path)

/** Sixteen digits in a row: only there may be an integer that a number cannot hold. */
export const mayHoldLargeInteger = /\d{16}/

/** Whether it has other digits than the number that it would be read as. */
export function isLargeInteger(token: string): boolean {
  return /^-?\d{16,}$/.test(token) && significant(token) !== significant(Number(token).toExponential())
}

/** Whether the number is another one than the text says, as far as a double can say it at all. */
function isRounded(token: string, value: number): boolean {
  if (!Number.isFinite(value)) return true
  const digits = significant(token)
  if (digits.length <= maxSignificantDigits) return value === 0 && digits !== ''
  return digits !== significant(value.toExponential())
}

/** The digits of a number without its sign, point and exponent, and the zeros at both ends. */
function significant(token: string): string {
  const [mantissa = ''] = token.split(/e/i, 1)
  const digits = mantissa.replace('-', '').replace('.', '')
  let start = 0
  let end = digits.length
  while (digits[start] === '0') start++
  while (end > start && digits[end - 1] === '0') end--
  return digits.slice(start, end)
}

/** Behind the first quote that an even number of backslashes precede. By hand: a pattern runs out of stack on long texts. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text[escapes - 1] === '\\') escapes--
    if ((end - escapes) % 2 === 0) return end + 1
  }
  return text.length
}
