import { show, TidingsError } from './errors.ts'

/** The most significant digits of a double. */
const maxSignificantDigits = 17

interface Rules {
  readonly maxDepth: number
  /** The most digits of an integer: a BigInt of more digits costs more than linear time. */
  readonly maxDigits: number
  /** Refuses text that would change on the way to a reader: repeated keys, numbers that would be rounded. */
  readonly strict: boolean
}

/** An unfinished array or object. */
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
 * Reads any JSON text in linear time. An integer that a number cannot hold becomes a BigInt. Nesting is kept in an array,
 * not on the stack, so the depth is checked before values are built.
 */
export class JsonParser {
  readonly #text: string
  readonly #what: string
  readonly #root: string
  readonly #rules: Rules
  readonly #frames: Frame[] = []
  #at = 0

  /**
   * @param what the name of the text in errors: 'the body'
   * @param root the start of paths in errors: 'data', or nothing
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
      // A closed array or object is a value itself.
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

/** Node's message about text that is no JSON, with the position. */
function wordsOf(text: string): string {
  try {
    JSON.parse(text)
    return 'it cannot be read'
  } catch (error) {
    return (error as Error).message.slice(0, 100)
  }
}

/** The part of an error's path for a property. */
export const step = (key: string) => (/^[A-Za-z_$][\w$]{0,59}$/.test(key) ? `.${key}` : `[${show(key)}]`)
export const shorten = (path: string) => (path.length > 60 ? `${path.slice(0, 57)}...` : path)

/** An integer that a number cannot hold has at least sixteen digits in a row. */
export const mayHoldLargeInteger = /\d{16}/

/** Whether the integer's digits differ from those of the number it would be read as. */
export function isLargeInteger(token: string): boolean {
  return /^-?\d{16,}$/.test(token) && significant(token) !== significant(Number(token).toExponential())
}

/**
 * Whether the number is another one than the text says. The text is right with the number's shortest digits, or with as
 * many digits of the number as the text has: the two differ where the last digit is halfway.
 */
function isRounded(token: string, value: number): boolean {
  const digits = significant(token)
  if (digits === '' || digits === significant(value.toExponential())) return false
  return digits.length > maxSignificantDigits || digits !== significant(value.toPrecision(digits.length))
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

/** The position after the first unescaped quote. A loop, because a regular expression overflows the stack on long texts. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text[escapes - 1] === '\\') escapes--
    if ((end - escapes) % 2 === 0) return end + 1
  }
  return text.length
}
