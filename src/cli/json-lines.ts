import { isTidingsError, TidingsError } from '../errors.ts'
import { fromJson, toJson } from '../json.ts'
import { queueOptions } from '../queue-options.ts'

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
 * Reads JSON Lines: UTF-8, one document a line, empty lines left out. Splits at line feeds only; other line separators
 * of Unicode may stand in JSON.
 * @param onBytes is told how many bytes were read
 */
export async function* readJsonLines(
  input: AsyncIterable<Buffer>,
  onBytes: (count: number) => void = () => {},
): AsyncGenerator<DataLine | BrokenLine> {
  let number = 0
  let rest: Buffer[] = []
  for await (const chunk of input) {
    onBytes(chunk.length)
    let start = 0
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      yield* parseLine(++number, Buffer.concat([...rest, chunk.subarray(start, end)]))
      rest = []
      start = end + 1
    }
    if (start < chunk.length) rest.push(chunk.subarray(start))
  }
  yield* parseLine(number + 1, Buffer.concat(rest))
}

function* parseLine(number: number, bytes: Buffer): Generator<DataLine | BrokenLine> {
  try {
    const text = decode(bytes)
    if (text.trim() === '') return
    const data = parseData(text, 'it')
    yield { number, data, bytes: bytes.length }
  } catch (error) {
    if (!isTidingsError(error)) throw error
    yield { number, broken: error }
  }
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new TidingsError('BODY_NOT_JSON', 'it is not UTF-8')
  }
}

/**
 * The data of a message, checked as sending will check it.
 * @param what 'the data'; for error messages
 */
export function parseData(text: string, what: string): unknown {
  const data = parse(text, what)
  const bytes = Buffer.byteLength(toJson(data, 'data'))
  const { defaultValue: limit } = queueOptions.maxMessageBytes
  if (bytes > limit) throw new TidingsError('BODY_TOO_LARGE', `${what} is ${bytes} bytes of JSON; at most ${limit}`)
  return data
}

function parse(text: string, what: string): unknown {
  try {
    return fromJson(text)
  } catch (error) {
    throw new TidingsError('BODY_NOT_JSON', `${what} is not JSON: ${(error as Error).message}`)
  }
}
