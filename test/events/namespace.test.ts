import fc from 'fast-check'
import pg from 'pg'
import { channelOf, checkNamespace, checkPrefix } from 'tidings/internal/events/channels'
import { defaultQueuePattern, namespaceOf, namespaceSql, parseQueuePattern } from 'tidings/internal/events/namespace'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'

const byDefault = parseQueuePattern(defaultQueuePattern, 'pattern')

test.each([
  ['worker_orders_queue', 'orders'],
  ['orders_queue', 'orders'],
  ['worker_queue', 'worker'],
  ['worker__queue', 'worker_'],
  ['my-app_queue', 'my-app'],
  ['_queue', 'default'],
  ['orders', 'default'],
  ['orders_queue_dlq', 'default'],
  ['worker_a_queue_queue', 'a_queue'],
])('by default the namespace of %s is %s', (queue, namespace) => expect(namespaceOf(queue, byDefault)).toBe(namespace))

test.each([
  ['(?P<namespace>\\w+)_queue', 'orders_queue', 'orders'],
  ['(?P<namespace>\\w+)_queue', 'my-app_queue', 'default'],
  ['^app_(?<namespace>[a-z0-9]+)$', 'app_a1', 'a1'],
  ['(?<namespace>[^_]+)_(?<namespace>', 'x', null],
  ['(?<namespace>[a-z]+).x', 'a.x', 'a'],
])('%s makes of %s %s', (pattern, queue, namespace) => {
  if (namespace === null) expect(() => parseQueuePattern(pattern, 'pattern')).toThrow()
  else expect(namespaceOf(queue, parseQueuePattern(pattern, 'pattern'))).toBe(namespace)
})

test.each([
  '',
  '(\\w+)_queue',
  '(?<namespace>(a+)+)$',
  '(?<name>.+)',
  "x'(?<namespace>.+)",
  '(?<namespace>.+)|',
  'a*(?<namespace>.+)',
])('the pattern %j is refused', (pattern) => {
  expect(() => parseQueuePattern(pattern, '--queue-pattern')).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('--queue-pattern') }),
  )
})

const postgres = await sharedServer('postgres15')

describe('SQL and TypeScript find the same namespaces', () => {
  const client = new pg.Client({ connectionString: postgres })
  beforeAll(() => client.connect().then(() => {}))
  afterAll(() => client.end())

  const part = fc.constantFrom('worker', '_', 'queue', 'a', 'b1', '-', '.', '_queue', 'worker_', 'app_', 'x')
  const name = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''))
  const patterns = [
    defaultQueuePattern,
    '(?P<namespace>\\w+)_queue',
    'app_(?<namespace>[a-z]+)|(?<namespace>[^_]+)_x|(?<namespace>[a-z0-9]+)',
  ]

  test.each(patterns)('%s', async (pattern) => {
    const rules = parseQueuePattern(pattern, 'pattern')
    const sql = `SELECT array_agg(${namespaceSql(rules)} ORDER BY position) AS found
      FROM jsonb_array_elements_text($1) WITH ORDINALITY AS names (queue, position)`
    const property = fc.asyncProperty(fc.array(name, { minLength: 50, maxLength: 100 }), async (names) => {
      const { rows } = await client.query(sql, [JSON.stringify(names)])
      expect(rows[0].found).toEqual(names.map((queue) => namespaceOf(queue, rules)))
    })
    await fc.assert(property, { numRuns: 30 })
  })
})

test('names of channels', () => {
  expect(channelOf.queueCreated(null)).toBe('pgmq_queue_created')
  expect(channelOf.messageReady('app')).toBe('app.pgmq_message_ready')
  expect(channelOf.messageReadyIn(null, 'orders')).toBe('pgmq_message_ready.orders')
  expect(channelOf.messageReadyIn(null, 'x'.repeat(44))).toHaveLength(63)
  expect(channelOf.messageReadyIn(null, 'x'.repeat(45))).toBeNull()
  expect(() => checkPrefix('app', 'prefix')).not.toThrow()
  for (const wrong of ['', '1a', 'a-b', "a'", 'x'.repeat(21), 'ä'])
    expect(() => checkPrefix(wrong, 'prefix')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  for (const wrong of ['', 'a b', 'ä', 'x'.repeat(64)])
    expect(() => checkNamespace(wrong, 'namespace')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
})
