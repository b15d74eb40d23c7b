import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { MessageMeta } from 'tidings/internal/port/meta'
import { type RoutesOptions, routes } from 'tidings/internal/router/routes'
import type { Handler } from 'tidings/internal/worker/handler'
import { archive, deadLetter, Outcome, retry, snooze } from 'tidings/internal/worker/outcome'
import { describe, test } from 'vitest'
import { call } from './support.ts'

/** Calls the routed handler with one message, and notes which handlers it called. */
async function run(
  table: readonly (readonly [name: string, patterns: string | string[], result?: unknown])[],
  meta: MessageMeta,
  options?: RoutesOptions,
) {
  const called: string[] = []
  const handlers = table.map(
    ([name, patterns, result]) =>
      [
        () => {
          called.push(name)
          if (result instanceof Error) throw result
          return result
        },
        patterns,
      ] as const,
  )
  const result = await call(routes(handlers, options), { meta }).catch((error: unknown) => error)
  return { called, result }
}

const kindOf = (result: unknown) => (result instanceof Outcome ? result.decision.kind : result)

describe('routes', () => {
  test('call every handler with a matching pattern, in order, once each', async () => {
    const { called, result } = await run(
      [
        ['c', ['Orders.#', 'Orders.*']],
        ['a', 'Orders.Paid'],
        ['no', 'Refunds.#'],
        ['b', '#'],
      ],
      { routingKey: 'Orders.Paid' },
    )
    assert.deepEqual(called, ['c', 'a', 'b'])
    assert.equal(result, undefined)
  })

  test.each([
    ['a key that nobody wants', { routingKey: 'Other' }, /has routing key "Other", which no pattern matches/],
    ['no key', {}, /has no routing key/],
  ])('dead-letter a message with %s', async (_what, meta, text) => {
    const { called, result } = await run([['a', 'Orders.#']], meta)
    assert.deepEqual(called, [])
    assert(result instanceof Outcome && result.decision.kind === 'deadLetter')
    const { reason } = result.decision
    assert(isTidingsError(reason, 'NO_ROUTE'))
    assert.match(reason.message, text)
  })

  test('call `otherwise` without a matching pattern', async () => {
    const otherwise: Handler<unknown> = (message) => `otherwise ${message.id}`
    assert.equal((await run([['a', 'b']], { routingKey: 'c' }, { otherwise })).result, 'otherwise 1')
    assert.equal((await run([['a', '#']], {}, { otherwise })).result, 'otherwise 1')
    assert.deepEqual((await run([['a', '#']], { routingKey: 'c' }, { otherwise })).called, ['a'])
  })

  test('take the key from `keyOf`', async () => {
    const keyOf: RoutesOptions['keyOf'] = (message) => message.meta.actionType
    const { called } = await run([['a', 'add']], { actionType: 'add', routingKey: 'other' }, { keyOf })
    assert.deepEqual(called, ['a'])
  })

  test('stop at the first handler that throws', async () => {
    const error = new Error('broken')
    const table = [
      ['a', '#'],
      ['b', '#', error],
      ['c', '#'],
    ] as const
    const { called, result } = await run(table, { routingKey: 'x' })
    assert.deepEqual(called, ['a', 'b'])
    assert.equal(result, error)
  })

  test.each([retry(), snooze('5s'), deadLetter('no')])(
    'stop at an outcome by which it is not done',
    async (outcome) => {
      const { called, result } = await run(
        [
          ['a', '#', outcome],
          ['b', '#'],
        ],
        { routingKey: 'x' },
      )
      assert.deepEqual(called, ['a'])
      assert.equal(result, outcome)
    },
  )

  test('let the last outcome count otherwise', async () => {
    const { called, result } = await run(
      [
        ['a', '#', archive()],
        ['b', '#', 'ignored'],
      ],
      { routingKey: 'x' },
    )
    assert.deepEqual(called, ['a', 'b'])
    assert.equal(kindOf(result), 'archive')
  })

  test('are checked when they are made', () => {
    const codeOf = (make: () => unknown) => {
      try {
        make()
        return 'fine'
      } catch (error) {
        return isTidingsError(error) ? `${error.code}: ${error.message}` : String(error)
      }
    }
    const handler = () => {}
    // biome-ignore lint/suspicious/noExplicitAny: what the types forbid
    const bad = routes as any
    assert.match(
      codeOf(() => routes([[handler, 'a.**']])),
      /^PATTERN_INVALID: the pattern of route 0 .*position 3/,
    )
    assert.match(
      codeOf(() => routes([])),
      /^TYPE: the table of routes/,
    )
    assert.match(
      codeOf(() => bad('x')),
      /^TYPE: the table of routes/,
    )
    assert.match(
      codeOf(() => bad([handler])),
      /^TYPE: route 0/,
    )
    assert.match(
      codeOf(() => bad([['x', 'a']])),
      /^TYPE: the handler of route 0/,
    )
    assert.match(
      codeOf(() => bad([[handler]])),
      /^TYPE: the pattern of route 0/,
    )
    assert.match(
      codeOf(() => routes([[handler, []]])),
      /^TYPE: the patterns of route 0/,
    )
    assert.match(
      codeOf(() => bad([[handler, 'a']], { otherwise: 1 })),
      /^TYPE: otherwise/,
    )
    assert.match(
      codeOf(() => bad([[handler, 'a']], { other: 1 })),
      /^OPTION_UNKNOWN/,
    )
  })

  test('work for a worker on a queue that is bound to all', async () => {
    await using bus = new Bus(new MemoryEngine())
    const queue = bus.queue<{ n: number }>('events')
    await queue.create()
    await bus.bind('#', queue)
    const seen: string[] = []
    const worker = queue.work(
      routes<{ n: number }>([
        [({ data, meta }) => void seen.push(`paid ${data.n} ${meta.routingKey}`), 'Orders.*.Paid'],
        [({ data }) => void seen.push(`all ${data.n}`), 'Orders.#'],
      ]),
      { concurrency: 1, maxMessages: 3 },
    )
    await bus.publish('Orders.1.Paid', { n: 1 })
    await bus.publish('Orders.1', { n: 2 })
    await bus.publish('Unknown', { n: 3 })
    await worker.finished
    assert.deepEqual(seen, ['paid 1 Orders.1.Paid', 'all 1', 'all 2'])
    const [dead] = await queue.deadLetters.list()
    assert.match(String(dead?.meta.errorMessage), /has routing key "Unknown"/)
  })
})
