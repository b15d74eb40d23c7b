import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { decodeText, parseJson, toJson } from 'tidings/internal/core/json'
import { messageBytesOption } from 'tidings/internal/messages/options'

/** One line of a file with the data of a message. */
export interface DataLine {
  readonly number: number
  readonly data: unknown
  readonly bytes: number
}

/** A line that cannot be sent. */
export interface BrokenLine {
  readonly number: number
  readonly broken: TidingsError
}

const newline = 0x0a

/**
 * Reads JSON Lines: UTF-8, one document a line, empty lines skipped. Splits at line feeds only, because JSON may contain
 * Unicode's other line separators.
 * @param onBytes called with the number of bytes read
 */
export async function* readJsonLines(
  input: AsyncIterable<Buffer>,
  onBytes: (count: number) => void = () => {},
): AsyncGenerator<DataLine | BrokenLine> {
  let number = 0
  let line = new LineBuffer()
  for await (const chunk of input) {
    onBytes(chunk.length)
    let start = 0
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      line.add(chunk.subarray(start, end))
      yield* parseLine(++number, line)
      line = new LineBuffer()
      start = end + 1
    }
    line.add(chunk.subarray(start))
  }
  yield* parseLine(number + 1, line)
}

const maxLineBytes = messageBytesOption.defaultValue

/** The parts of one line; only the length of a line that is too long. */
class LineBuffer {
  length = 0
  #parts: Buffer[] = []

  add(part: Buffer): void {
    this.length += part.length
    if (this.length <= maxLineBytes) this.#parts.push(part)
    else this.#parts = []
  }

  /** @throws BODY_TOO_LARGE, BODY_NOT_JSON */
  text(): string {
    if (this.length > maxLineBytes)
      throw new TidingsError('BODY_TOO_LARGE', `it is ${this.length} bytes of JSON; at most ${maxLineBytes}`)
    return decodeText(Buffer.concat(this.#parts), 'it')
  }
}

function* parseLine(number: number, line: LineBuffer): Generator<DataLine | BrokenLine> {
  try {
    const text = line.text()
    if (text.trim() === '') return
    yield { number, data: parseData(text, 'it'), bytes: line.length }
  } catch (error) {
    if (!isTidingsError(error)) throw error
    yield { number, broken: error }
  }
}

/**
 * The data of a message, with the checks of sending.
 * @param what 'the data'; for error messages
 */
export function parseData(text: string, what: string): unknown {
  const data = parseJson(text, what, 'data')
  toJson(data, 'data', messageBytesOption.defaultValue)
  return data
}
