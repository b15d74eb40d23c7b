import assert from 'node:assert/strict'
import fc from 'fast-check'
import { toMilliseconds } from 'tidings/internal/core/duration'
import { isTidingsError } from 'tidings/internal/core/errors'
import { matchesGlob } from 'tidings/internal/core/glob'
import { checkJson, fromJson, toJson } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { checkPattern, checkRoutingKey, matches } from 'tidings/internal/core/pattern'
import { checkUrl } from 'tidings/internal/core/url'
import { parseTarget as parseHttpTarget } from 'tidings/internal/engines/http/target'
import { parseTarget as parseRedisTarget } from 'tidings/internal/engines/redis/target'
import { parseEvent } from 'tidings/internal/events/event'
import { redact } from 'tidings-cli/internal/environment'
import { readJsonLines } from 'tidings-cli/internal/json-lines'
import { globsOption } from 'tidings-server/internal/auth/globs'
import { parseBody, parseQuery } from 'tidings-server/internal/http/input'
import { describe, test } from 'vitest'

/**
 * Everything that reads text from outside, with texts that are bad for parsers: long runs of what repetition in a
 * pattern, nesting or digits could be made of. Sixteen times the text may cost little more than sixteen times the time;
 * what is quadratic takes 256 times.
 */
const schema = { data: option.json(''), limit: option.integer('', { default: null, min: 0, max: 9 }) }
const json = { contentType: 'application/json', contentEncoding: undefined }
const parsers: Record<string, (text: string) => unknown> = {
  'a body': (text) => parseBody(schema, Buffer.from(text), json),
  'a body with it as a number': (text) => parseBody(schema, Buffer.from(`{"data":${text}}`), json),
  'a body with it as a text': (text) => parseBody(schema, Buffer.from(JSON.stringify({ data: text })), json),
  'the type of a body': (text) => parseBody(schema, Buffer.from('{}'), { ...json, contentType: text }),
  'a query': (text) => parseQuery(schema, new URLSearchParams(text)),
  'stored data': (text) => toJson(fromJson(text), 'data'),
  'data as text': (text) => checkJson(text, 'data', 100_000_000),
  'JSON Lines': async (text) => {
    for await (const _ of readJsonLines(inPieces(Buffer.from(text))));
  },
  'an event': parseEvent,
  'a routing key': (text) => checkRoutingKey(text),
  'a pattern': (text) => checkPattern(text),
  'a match': (text) => matches(text.slice(0, 255), text.slice(-255)),
  'a glob': (text) => globsOption('').parse([text], 'queues'),
  'a match of a glob': (text) => matchesGlob(text.slice(0, 100), text.slice(-47)),
  'a name': (text) => checkQueueName(text),
  'a duration': (text) => toMilliseconds(text, 'delay'),
  'a URL': (text) => checkUrl(text),
  'a URL without its password': redact,
  'a URL of a Redis': (text) => parseRedisTarget(`redis://${text}`),
  'a URL of a server': (text) => parseHttpTarget({ url: `https://${text}`, token: null }),
}

async function* inPieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

const piece = fc.oneof(
  fc.constantFrom(
    '[',
    '{"a":',
    '"',
    '\\',
    '\\"',
    '[]',
    '{},',
    ' ',
    '\n',
    '0',
    '9',
    '1.',
    '1e',
    '-',
    ',1',
    ':',
    '%',
    '%2',
  ),
  fc.constantFrom(
    '*',
    '#',
    '.',
    '*.#.',
    'a.',
    'a*',
    '/',
    '@',
    ':@',
    '?a=',
    '&a=1',
    ',a:1',
    '[:',
    'a+json',
    'data: ',
    '\n\n',
  ),
  fc.string({ minLength: 1, maxLength: 4 }),
)
/** A head, something that is repeated, and an end that does not fit. */
const hostile = fc.record({
  head: fc.constantFrom('', '1', '"', '[', '{"a":', 'postgres://', '5', 'a'),
  piece,
  tail: piece,
})

const smallBytes = 32_000
const factor = 16
/** Three times what is linear, and something for the collection of memory. */
const allowed = (smallMs: number) => 3 * factor * smallMs + 150

async function timeOf(parse: (text: string) => unknown, text: string): Promise<number> {
  // Time of this process alone, whatever else the machine does.
  const start = process.cpuUsage()
  try {
    await parse(text)
  } catch (error) {
    assert(
      isTidingsError(error) ||
        error instanceof SyntaxError ||
        /^(it|[a-z_]+) is/.test(String((error as Error).message)),
      String(error),
    )
  }
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1_000
}

describe('time grows with the size, and no faster, for', () => {
  test.each(Object.entries(parsers))('%s', async (_name, parse) => {
    const check = async ({ head, piece, tail }: { head: string; piece: string; tail: string }) => {
      const text = (bytes: number) => head + piece.repeat(Math.ceil(bytes / piece.length)) + tail
      const small = text(smallBytes)
      const large = text(smallBytes * factor)
      const smallMs = await timeOf(parse, small)
      let largeMs = await timeOf(parse, large)
      // Memory of earlier tests may have been collected meanwhile.
      for (let again = 0; again < 3 && largeMs > allowed(smallMs); again++)
        largeMs = Math.min(largeMs, await timeOf(parse, large))
      assert(
        largeMs <= allowed(smallMs),
        `${large.length} characters took ${largeMs} ms, ${small.length} ${smallMs} ms`,
      )
    }
    await fc.assert(fc.asyncProperty(hostile, check), {
      numRuns: 60,
      examples: [
        [{ head: '1', piece: '0', tail: '1' }],
        [{ head: '', piece: '[', tail: '' }],
        [{ head: '[', piece: '9', tail: ']' }],
        [{ head: '', piece: '{"a":', tail: '1' }],
        [{ head: '"', piece: '\\', tail: '' }],
      ],
    })
  })

  test('a query of very many names', () => {
    const text = Array.from({ length: 20_000 }, (_, index) => `n${index}=1`).join('&')
    const took = [1, 2, 3].map(() => {
      const start = performance.now()
      assert.throws(() => parseQuery(schema, new URLSearchParams(text)))
      return performance.now() - start
    })
    assert(Math.min(...took) < 1_000)
  })
})
