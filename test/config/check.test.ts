import assert from 'node:assert/strict'
import { exponential } from 'tidings/internal/messages/backoff'
import { checkConfig, checkSchedules } from 'tidings-cli/internal/config/check'
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
    ['an owner whose last schedule went', { owner: 'billing' }],
    ['functions, where code is written', { process: { backoff: exponential() } }],
    ['queues with names like those of objects', { queues: { constructor: { concurrency: 1 }, __proto__: {} } }],
  ])('%s', (_, config) => expect(problemsOf(config)).toEqual([]))

  test('is passed on as it was given', () => {
    const config = {
      url: 'memory:',
      process: { lease: '10s' },
      queues: { orders: { deadLetter: false, concurrency: 1 } },
      owner: 'billing',
      schedules: { nightly: { cron: '0 2 * * *', queue: 'reports', data: { n: 1 } } },
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
    [
      'a name of another system, at another place',
      { attempts: 3 },
      'OPTION_UNKNOWN attempts is not a setting',
      "Did you mean 'process.maxAttempts'?",
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
      'There are url, pool, idle, telemetry, handlers, owner, process, queues, schedules, events, sentinel, serve.',
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
    [
      'schedules of nobody',
      { schedules: { nightly: { cron: '0 2 * * *', queue: 'reports' } } },
      'CONFIG_INVALID owner is missing, whose the schedules are',
    ],
    [
      'a setting that a schedule does not have',
      { owner: 'billing', schedules: { nightly: { crn: '0 2 * * *', queue: 'reports' } } },
      'OPTION_UNKNOWN schedules.nightly.crn is not a setting',
      "Did you mean 'schedules.nightly.cron'?",
    ],
    [
      'an interval that is too short',
      { owner: 'billing', schedules: { nightly: { every: '1ms', queue: 'reports' } } },
      'RANGE schedules.nightly.every is 1ms; it must be between 1s and 3650d',
    ],
    [
      'a name of a schedule',
      { owner: 'billing', schedules: { Nightly: { every: '1m', queue: 'reports' } } },
      'SCHEDULE_NAME_INVALID schedules.Nightly "Nightly" has upper-case letters; write "nightly"',
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

describe('what does not go together in a schedule is reported with its path', () => {
  test.each<[schedule: object, problem: string, hint?: string]>([
    [{ cron: 'often', queue: 'reports' }, 'CRON_INVALID schedules.nightly: cron is "often": '],
    [
      { cron: '0 0 30 2 *', queue: 'reports' },
      "SCHEDULE_NEVER schedules.nightly: schedule 'nightly' has no time that lies ahead",
    ],
    [{ queue: 'reports' }, 'TYPE schedules.nightly: one of cron, every, at is missing'],
    [{ every: '1m' }, 'TYPE schedules.nightly: one of queue, topic, routingKey is missing'],
    [
      { every: '1m', cron: '@daily', queue: 'reports' },
      "OPTION_CONFLICT schedules.nightly: 'cron' and 'every' are both given",
    ],
  ])('%j', async (nightly, problem) => {
    const other = { every: '1m', queue: 'reports' }
    const { config, problems } = checkConfig({ owner: 'billing', schedules: { nightly, other } })
    expect(problems).toEqual([])
    const [found, ...further] = await checkSchedules(config)
    expect(`${found?.code} ${found?.message}`.startsWith(problem), found?.message).toBe(true)
    expect(further).toEqual([])
  })

  test('bounds that have passed are no mistake: it may have run', async () => {
    const schedules = { once: { at: '2020-01-01T00:00:00Z', queue: 'reports' } }
    expect(await checkSchedules(checkConfig({ owner: 'billing', schedules }).config)).toEqual([])
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
    expect(await checkSchedules(config)).toEqual([])
    for (const { path, schema, examples, exampleName } of sections) {
      const place = path
        .replace('NAME', exampleName ?? '')
        .split('.')
        .filter(Boolean)
      const section = place.reduce((at, name) => at[name] as Record<string, unknown>, config)
      const names = Object.keys(schema).filter((name) => examples[name] !== null)
      assert.deepEqual(
        names.filter((name) => !Object.hasOwn(section, name)),
        [],
      )
    }
  })
})
