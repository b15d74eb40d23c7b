import { type Message, versions } from 'tidings'
import { memoryBus } from 'tidings/testing'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { refusal } from '../queue/support.ts'

interface V1 {
  name: string
}
interface V2 {
  first: string
  last: string
}

/** One queue with a message of each of these versions, worked on until nothing is left. */
async function handled(handler: ReturnType<typeof versions>, ...sent: [version: string | undefined, data: unknown][]) {
  await using bus = memoryBus()
  const queue = bus.queue('hires')
  for (const [version, data] of sent) await queue.send(data, { meta: { targetId: 'p', ...(version && { version }) } })
  await queue.work(handler, { concurrency: 1, maxAttempts: 2, backoff: () => 0 }).drain()
  return (await queue.deadLetters.list()).map(({ data, meta }) => ({
    data,
    version: meta.version,
    error: meta.errorMessage,
    attempts: meta.attempts,
  }))
}

describe('a message finds its handler', () => {
  const seen: unknown[] = []
  const note = (by: string) => (message: Message<unknown>) => {
    seen.push([by, message.meta.version, message.data])
  }
  const upcasters = {
    1: ({ name }: V1) => ({ first: name, last: '' }),
    2: async ({ first, last }: V2) => ({ names: [first, last] }),
  }

  test('its own before any conversion', async () => {
    seen.length = 0
    const handler = versions({ handlers: { 1: note('one'), 3: note('three') }, upcasters })
    expect(await handled(handler, ['1', { name: 'Ada' }], ['3', { names: [] }])).toEqual([])
    expect(seen).toEqual([
      ['one', '1', { name: 'Ada' }],
      ['three', '3', { names: [] }],
    ])
  })

  test('step by step, with converted data and its own meta', async () => {
    seen.length = 0
    const handler = versions({ handlers: { 3: note('three') }, upcasters })
    expect(await handled(handler, ['1', { name: 'Ada' }], ['2', { first: 'Bob', last: 'X' }])).toEqual([])
    expect(seen).toEqual([
      ['three', '1', { names: ['Ada', ''] }],
      ['three', '2', { names: ['Bob', 'X'] }],
    ])
  })

  test('a version may have any name, and its upcaster names the next', async () => {
    seen.length = 0
    const way = { 'draft-7': { to: '2', convert: (data: V1) => ({ first: data.name, last: '?' }) }, 2: upcasters[2] }
    expect(
      await handled(versions({ handlers: { 3: note('three') }, upcasters: way }), ['draft-7', { name: 'A' }]),
    ).toEqual([])
    expect(seen).toEqual([['three', 'draft-7', { names: ['A', '?'] }]])
  })

  test('a message without a version counts as `unversioned`', async () => {
    seen.length = 0
    const handler = versions({ handlers: { 3: note('three') }, upcasters, unversioned: '1' })
    expect(await handled(handler, [undefined, { name: 'Ada' }])).toEqual([])
    expect(seen).toEqual([['three', undefined, { names: ['Ada', ''] }]])
  })

  test('a message of an unknown version is dead-lettered at once, with the reason', async () => {
    const handler = versions({ handlers: { 3: note('three') }, upcasters })
    expect(await handled(handler, ['4', {}], [undefined, {}], ['constructor', {}])).toEqual([
      { data: {}, version: '4', attempts: 1, error: 'message 1 has version "4"; the handler knows "1", "2", "3"' },
      { data: {}, version: undefined, attempts: 1, error: 'message 2 has no version; the handler knows "1", "2", "3"' },
      {
        data: {},
        version: 'constructor',
        attempts: 1,
        error: 'message 3 has version "constructor"; the handler knows "1", "2", "3"',
      },
    ])
  })
})

describe('what can go wrong', () => {
  test('an upcaster that throws is a failure: tried again, then dead-lettered with its data as they were sent', async () => {
    let calls = 0
    const convert = async () => {
      calls++
      throw new Error('no such person')
    }
    expect(await handled(versions({ handlers: { 2: () => {} }, upcasters: { 1: convert } }), ['1', { id: 7 }])).toEqual(
      [{ data: { id: 7 }, version: '1', error: 'no such person', attempts: 2 }],
    )
    expect(calls).toBe(2)
  })

  test('the outcome and the settlement of the handler stand', async () => {
    await using bus = memoryBus()
    const queue = bus.queue('hires')
    await queue.send({ n: 1 }, { meta: { version: '1' } })
    const handler = versions({ handlers: { 2: (message) => message.archive() }, upcasters: { 1: (data) => data } })
    await queue.work(handler).drain()
    // The archive keeps what was sent.
    expect(await queue.peek({ place: 'archived' })).toMatchObject([{ data: { n: 1 }, meta: { version: '1' } }])
  })

  test('a schema validates data of its version, as sent and as converted, and gives the handler its types', async () => {
    const names: string[] = []
    const handler = versions({
      schemas: {
        1: z.object({ name: z.string() }),
        2: z.object({ first: z.string().min(1), last: z.string().default('-') }),
      },
      handlers: {
        2({ data }) {
          names.push(`${data.first} ${data.last}`)
        },
      },
      upcasters: { 1: ({ name }: V1) => ({ first: name }) },
    })
    const letters = await handled(
      handler,
      ['1', { name: 'Ada' }],
      ['1', { name: '' }],
      ['1', {}],
      ['2', { first: 'B' }],
    )
    expect(names).toEqual(['Ada -', 'B -'])
    expect(letters.map(({ error, attempts }) => [attempts, error?.split(':')[0]])).toEqual([
      [1, 'data of message 2 as version "2" is invalid at first'],
      [1, 'data of message 3 as version "1" is invalid at name'],
    ])
  })
})

describe('a table that leads nowhere is refused when it is made', () => {
  const handle = () => {}
  const same = (data: unknown) => data
  test.each([
    ['handlers', { handlers: {} }],
    ['a gap', { handlers: { 4: handle }, upcasters: { 1: same, 3: same } }],
    ['the end missing', { handlers: { 1: handle }, upcasters: { 1: same, 2: same } }],
    [
      'a circle',
      { handlers: { 9: handle }, upcasters: { a: { to: 'b', convert: same }, b: { to: 'a', convert: same } } },
    ],
    ['to itself', { handlers: { 9: handle }, upcasters: { a: { to: 'a', convert: same } } }],
    ['no next', { handlers: { 9: handle }, upcasters: { 'v1.2': same } }],
    ['unversioned', { handlers: { 2: handle }, unversioned: '1' }],
    ['a schema of no version', { handlers: { 2: handle }, schemas: { 3: z.string() } }],
  ])('%s', async (_, options) => {
    await refusal(() => versions(options as never), 'VERSIONS_INVALID')
  })

  test('the error names the steps', async () => {
    const upcasters = { a: { to: 'b', convert: same }, b: { to: 'a', convert: same } }
    const { message } = await refusal(() => versions({ handlers: { 1: handle }, upcasters }))
    expect(message).toBe('upcasters lead in a circle: a → b → a')
  })

  test('a value that is no table is refused', async () => {
    await refusal(() => versions({ handlers: { 1: 'x' } } as never), 'TYPE')
    await refusal(() => versions({ handlers: { 1: handle }, upcasters: { 1: { to: 2 } } } as never), 'TYPE')
    await refusal(() => versions({ handlers: { 1: handle }, schemas: { 1: {} } } as never), 'TYPE')
    await refusal(() => versions({ handler: {} } as never), 'OPTION_UNKNOWN')
  })
})
