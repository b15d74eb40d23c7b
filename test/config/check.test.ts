import assert from 'node:assert/strict'
import { exponential } from 'tidings/internal/worker/backoff'
import { checkConfig } from 'tidings-cli/internal/config/check'
import { sections } from 'tidings-cli/internal/config/settings'
import { configTemplate } from 'tidings-cli/internal/config/template'
import { describe, expect, test } from 'vitest'

const problemsOf = (config: unknown) => checkConfig(config).problems.map(({ code, message }) => `${code} ${message}`)

describe('what a configuration may say', () => {
  test.each<[what: string, config: object]>([
    ['nothing', {}],
    ['empty sections', { process: {}, queues: { orders: {} } }],
    ['what is undefined', { url: undefined, process: { lease: undefined } }],
    ['URLs', { url: 'local:./data' }],
    ['durations as texts and numbers', { process: { lease: '10s', stopDeadline: 500 } }],
    ['functions, where code is written', { process: { backoff: exponential() } }],
    ['queues with names like those of objects', { queues: { constructor: { concurrency: 1 }, __proto__: {} } }],
  ])('%s', (_, config) => expect(problemsOf(config)).toEqual([]))

  test('is passed on as it was given', () => {
    const config = {
      url: 'memory:',
      process: { lease: '10s' },
      queues: { orders: { deadLetter: false, concurrency: 1 } },
      events: { channelPrefix: 'shop' },
      sentinel: { every: '5s', rules: [{ queues: '*', maxDead: 0 }], webhook: { url: 'https://hooks.example/x' } },
      serve: { port: 9000, origins: ['https://example.org'] },
    }
    expect(checkConfig(config).config).toEqual(config)
  })
})

describe('a problem is reported with its path', () => {
  test.each<[what: string, config: unknown, problem: string, hint?: string]>([
    ['no object', 'x', 'TYPE the configuration is "x"; it must be an object'],
    ['an array', [], 'TYPE the configuration is an array of 0; it must be an object'],
    ['a function', () => {}, 'TYPE the configuration is a function; it must be an object'],
    ['a section that is none', { process: 3 }, 'TYPE process is 3; it must be an object'],
    ['null', { process: { lease: null } }, 'DURATION process.lease is null, which is not a duration'],
    [
      'a text for a number',
      { queues: { orders: { concurrency: 'x' } } },
      'TYPE queues.orders.concurrency is "x"; it must be a whole number',
    ],
    [
      'a function for a number',
      { process: { concurrency: () => 3 } },
      'TYPE process.concurrency is a function; it must be a whole number',
    ],
    ['a fraction', { process: { concurrency: 1.5 } }, 'RANGE process.concurrency is 1.5; it must be a whole number'],
    [
      'a number out of range',
      { process: { concurrency: 0 } },
      'RANGE process.concurrency is 0; it must be between 1 and 10000',
    ],
    [
      'a typing error',
      { process: { concurency: 3 } },
      'OPTION_UNKNOWN process.concurency is not a setting',
      "Did you mean 'process.concurrency'?",
    ],
    ['a typing error at the top', { quueues: {} }, 'OPTION_UNKNOWN quueues is not a setting', "Did you mean 'queues'?"],
    [
      'a setting in the wrong place',
      { concurrency: 3 },
      'OPTION_UNKNOWN concurrency is not a setting',
      "Did you mean 'process.concurrency'?",
    ],
    [
      'nothing near',
      { zzzzzz: 3 },
      'OPTION_UNKNOWN zzzzzz is not a setting',
      'There are url, pool, handlers, process, queues, events, sentinel, serve.',
    ],
    [
      'a rule with a typing error',
      { sentinel: { rules: [{ queues: '*', maxRedy: 1 }] } },
      'OPTION_UNKNOWN sentinel.rules[0] has no option "maxRedy"',
      "Did you mean 'maxReady'?",
    ],
    [
      'a limit out of range',
      {
        sentinel: {
          rules: [
            { queues: '*', maxDead: 0 },
            { queues: '*', maxReady: -1 },
          ],
        },
      },
      `RANGE sentinel.rules[1].maxReady is -1; it must be between 0 and ${Number.MAX_SAFE_INTEGER}`,
    ],
    [
      'a URL of this machine',
      { sentinel: { webhook: { url: 'http://[::1]:5432/' } } },
      'URL_NOT_ALLOWED sentinel.webhook.url has the private address ::1',
    ],
    ['a name of Object', { toString: 3 }, 'OPTION_UNKNOWN toString is not a setting'],
    ['a URL', { url: 'mysql://user:secret@host' }, 'URL_INVALID the URL scheme "mysql" is not known'],
    [
      'a name of a queue',
      { queues: { Orders: {} } },
      'QUEUE_NAME_INVALID queues.Orders "Orders" has upper-case letters; write "orders"',
    ],
    [
      'a name above the limit of PostgreSQL, in bytes',
      { queues: { ['q'.repeat(48)]: {} } },
      `QUEUE_NAME_INVALID queues.${'q'.repeat(48)} "${'q'.repeat(48)}" is 48 bytes; at most 47`,
    ],
    [
      'a pattern without a namespace',
      { events: { queuePattern: 'orders' } },
      'CONFIG_INVALID events.queuePattern is "orders"; "orders" cannot be read',
    ],
    [
      'a prefix of channels that is too long',
      { events: { channelPrefix: 'p'.repeat(21) } },
      `CONFIG_INVALID events.channelPrefix is "${'p'.repeat(21)}", which cannot start the name of a channel`,
    ],
    [
      "a payload above PostgreSQL's limit",
      { events: { maxPayloadSize: 8_000 } },
      'RANGE events.maxPayloadSize is 8000; it must be between 512 and 7999',
    ],
    [
      'dead letters in a circle',
      { queues: { a: { deadLetter: 'b' }, b: { deadLetter: 'c' }, c: { deadLetter: 'b' } } },
      'DEAD_LETTER_INVALID queues.b.deadLetter: the dead-letter queues form a circle: b → c → b',
    ],
    [
      'dead letters into the queue itself',
      { queues: { a: { deadLetter: 'a' } } },
      'DEAD_LETTER_INVALID queues.a.deadLetter: the dead-letter queues form a circle: a → a',
    ],
  ])('%s', (_, config, problem, hint) => {
    const { problems } = checkConfig(config)
    expect(problems.map(({ code, message }) => `${code} ${message}`)).toEqual([problem])
    if (hint) expect(problems[0]?.hint).toBe(hint)
  })

  test('all of it, not only the first', () => {
    const config = { url: 1, nonsense: 1, process: { lease: 'x', prefetch: -1 }, queues: { orders: { create: 'yes' } } }
    expect(checkConfig(config).problems.map(({ details }) => details.field)).toEqual(
      ['url', 'nonsense', 'process.lease', 'process.prefetch', 'queues.orders.create'].toSorted(
        (a, b) => order(a) - order(b),
      ),
    )
  })
})

/** General settings come first, those that are not known among them. */
const order = (field: string) => ['url', 'nonsense', 'process', 'queues'].indexOf(field.split('.')[0] as string)

describe('the file that `tidings init` writes', () => {
  const load = async (text: string) =>
    (await import(`data:text/javascript,${encodeURIComponent(text)}`)).default as Record<string, unknown>

  test('is valid', async () => {
    expect(problemsOf(await load(configTemplate()))).toEqual([])
  })

  test('is valid when everything in it is used, and has every setting', async () => {
    const used = configTemplate().replace(/^( *)\/\/ (\w+: .*[,{]|\},)$/gm, '$1$2')
    const config = await load(used)
    expect(problemsOf(config)).toEqual([])
    for (const { path, schema, examples } of sections) {
      const place = path.replace('NAME', 'orders').split('.').filter(Boolean)
      const section = place.reduce((at, name) => at[name] as Record<string, unknown>, config)
      const names = Object.keys(schema).filter((name) => examples[name] !== null)
      assert.deepEqual(
        names.filter((name) => !Object.hasOwn(section, name)),
        [],
      )
    }
  })
})
