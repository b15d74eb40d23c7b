import { Bus } from 'tidings/internal/bus/bus'
import type { Alert } from 'tidings/internal/sentinel/alerts'
import type { SentinelOptions } from 'tidings/internal/sentinel/options'
import type { Sentinel } from 'tidings/internal/sentinel/sentinel'
import { describe, expect, test } from 'vitest'
import { refusal } from '../queue/support.ts'
import { alertsIn, listeningLogger, scene } from './support.ts'

type Scene = ReturnType<typeof scene>

const minute = 60_000

describe('a rule', () => {
  test.each<[rule: object, prepare: (scene: Scene) => Promise<void>, alerts: string[]]>([
    [{ maxReady: 2 }, send('orders', 3), ['orders has 3 ready messages; at most 2']],
    [{ maxReady: 3 }, send('orders', 3), []],
    [{ maxReady: 0 }, send('orders', 1_200), ['orders has 1,200 ready messages; at most 0']],
    [{ maxReady: 0 }, async ({ bus }) => void (await bus.queue('orders').send(1, { delay: '1h' })), []],
    [
      { maxOldestReady: '5m' },
      aged(5 * minute + 1_500),
      ['orders has a message that has been ready for 5m; at most 5m'],
    ],
    [{ maxOldestReady: '5m' }, aged(7 * minute), ['orders has a message that has been ready for 7m; at most 5m']],
    [{ maxOldestReady: '5m' }, aged(5 * minute), []],
    [{ maxDead: 0 }, dead, ['orders has 1 dead letter; at most 0']],
    [{ maxDead: 1 }, dead, []],
  ])('%j', async (limits, prepare, alerts) => {
    const stage = scene()
    await prepare(stage)
    const found = await stage.bus.sentinel({ rules: [{ queues: '*', ...limits }] }).check()
    expect(found.alerts.map(({ message }) => message)).toEqual(alerts)
  })

  function send(queue: string, count: number) {
    return async ({ bus }: Scene) =>
      void (await bus.queue(queue).sendBatch(Array.from({ length: count }, () => ({ data: 1 }))))
  }

  function aged(milliseconds: number) {
    return async (stage: Scene) => {
      await send('orders', 1)(stage)
      await stage.clock.advance(milliseconds)
    }
  }

  async function dead({ bus }: Scene) {
    await bus.queue('orders').send(1)
    const [message] = await bus.queue('orders').read()
    await message!.deadLetter('broken')
  }

  test('names queues or topics', async () => {
    const stage = scene()
    await send('orders', 3)(stage)
    const { alerts } = await stage.bus.sentinel({ rules: [{ queues: 'orders', maxReady: 1 }] }).check()
    expect(alerts).toEqual([
      {
        limit: 'maxReady',
        queue: 'orders',
        topic: null,
        subscription: null,
        value: 3,
        max: 1,
        message: 'orders has 3 ready messages; at most 1',
      },
    ])
  })

  test('decides for its own limits before later rules', async () => {
    const stage = scene()
    await send('orders', 3)(stage)
    await send('mails', 3)(stage)
    await stage.clock.advance(2 * minute)
    const rules = [
      { queues: 'orders', maxReady: 10 },
      { queues: '*', maxReady: 1, maxOldestReady: '1m' },
    ] as const
    const { alerts } = await stage.bus.sentinel({ rules }).check()
    expect(alerts.map(({ queue, limit }) => `${queue} ${limit}`)).toEqual([
      'mails maxReady',
      'mails maxOldestReady',
      'orders maxOldestReady',
    ])
  })

  test('applies to a dead-letter queue only by its full name', async () => {
    const stage = scene()
    await dead(stage)
    const check = async (queues: string) =>
      (await stage.bus.sentinel({ rules: [{ queues, maxReady: 0 }] }).check()).alerts.map(({ queue }) => queue)
    expect(await check('*')).toEqual([])
    expect(await check('*_dlq')).toEqual([])
    expect(await check('orders_dlq')).toEqual(['orders_dlq'])
  })

  test('uses the dead-letter queue of the application', async () => {
    const stage = scene()
    const orders = stage.bus.queue('orders', { deadLetter: 'graveyard' })
    await orders.send(1)
    await (await orders.read())[0]!.deadLetter('broken')
    const { alerts } = await stage.bus.sentinel({ rules: [{ queues: '*', maxDead: 0, maxReady: 0 }] }).check()
    expect(alerts.map(({ queue, limit }) => `${queue} ${limit}`)).toEqual(['orders maxDead'])
  })
})

describe('a stalled queue', () => {
  /** Watches `orders` for a stall of 10 minutes, with something happening in it every minute. */
  async function watching(happens: (stage: Scene, minute: number) => Promise<void>) {
    const stage = scene()
    await stage.bus.queue('orders').sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    const sentinel = stage.bus.sentinel({ rules: [{ queues: 'orders', stalledAfter: '10m' }] })
    await sentinel.start()
    for (let passed = 0; passed < 15; passed++) {
      await stage.clock.advance(minute)
      await happens(stage, passed)
    }
    await stage.bus.close()
    return alertsIn(stage.said)
  }

  test('is reported', async () => {
    expect(await watching(async () => {})).toEqual([
      'raised: orders is stalled: messages are ready, but nobody touched them for 10m; at most 10m',
    ])
  })

  test('is stalled, too, while messages are still sent to it', async () => {
    const alerts = await watching(async ({ bus }) => void (await bus.queue('orders').send(4)))
    expect(alerts).toHaveLength(1)
  })

  test('is stalled, too, when an older message comes due', async () => {
    const stage = scene()
    const orders = stage.bus.queue('orders')
    await orders.send(0, { delay: '5m' })
    await orders.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    await stage.bus.sentinel({ rules: [{ queues: 'orders', stalledAfter: '10m' }] }).start()
    await stage.clock.advance(11 * minute)
    await stage.bus.close()
    expect(alertsIn(stage.said)).toHaveLength(1)
  })

  test('is not a queue whose messages are read now and then', async () => {
    const alerts = await watching(async ({ bus }, passed) => {
      await bus.queue('orders').send(4)
      if (passed % 5 === 0) await bus.queue('orders').pop()
    })
    expect(alerts).toEqual([])
  })

  test('is not a queue whose messages are tried and released', async () => {
    const alerts = await watching(async ({ bus }, passed) => {
      if (passed % 5 === 0) await (await bus.queue('orders').read())[0]!.release()
    })
    expect(alerts).toEqual([])
  })

  test('is not a queue with a leased message', async () => {
    const alerts = await watching(async ({ bus }, passed) => {
      if (passed === 0) await bus.queue('orders').read({ limit: 1, lease: '1h' })
    })
    expect(alerts).toEqual([])
  })

  test('is not an empty queue', async () => {
    expect(await watching(async ({ bus }) => void (await bus.queue('orders').purge()))).toEqual([])
  })

  test('needs two checks', async () => {
    const stage = scene()
    await stage.bus.queue('orders').send(1)
    await stage.clock.advance(60 * minute)
    const { alerts } = await stage.bus.sentinel({ rules: [{ queues: '*', stalledAfter: 1 }] }).check()
    expect(alerts).toEqual([])
  })
})

describe('subscriptions', () => {
  test('that lag behind are reported', async () => {
    const { bus, engine } = scene()
    for (const topic of ['news', 'noise']) {
      await bus.topic(topic).publishBatch(Array.from({ length: 11 }, () => ({ data: 1 })))
      for (const name of ['slow', 'fast']) await engine.topics.subscribe(topic, name, 'earliest')
      await engine.topics.ack(topic, 'fast', 1, null)
    }
    const { alerts, subscriptions } = await bus.sentinel({ rules: [{ topics: 'new*', maxLag: 10 }] }).check()
    expect(subscriptions.map(({ topic, subscription, lag }) => [topic, subscription, lag])).toEqual([
      ['news', 'fast', 10],
      ['news', 'slow', 11],
    ])
    expect(alerts.map(({ message }) => message)).toEqual(['news/slow is 11 messages behind; at most 10'])
    expect(alerts[0]).toMatchObject({ queue: null, topic: 'news', subscription: 'slow', limit: 'maxLag' })
  })

  test('cannot be watched on an engine without topics', async () => {
    const bus = new Bus(Object.create(scene().engine, { topics: { value: undefined } }))
    await refusal(() => bus.sentinel({ rules: [{ topics: '*', maxLag: 1 }] }), 'UNSUPPORTED')
  })
})

describe('an alert', () => {
  async function alerting(options: SentinelOptions = {}) {
    const stage = scene()
    const orders = stage.bus.queue('orders')
    const sentinel = stage.bus.sentinel({ rules: [{ queues: 'orders', maxReady: 1 }], ...options })
    await sentinel.start()
    await orders.sendBatch([{ data: 1 }, { data: 2 }])
    await stage.clock.advance(20_000)
    return { ...stage, orders, sentinel }
  }

  const raised = 'raised: orders has 2 ready messages; at most 1'

  test('is reported once', async () => {
    const { said, clock, bus, sentinel } = await alerting()
    await clock.advance(30 * minute)
    expect(alertsIn(said)).toEqual([raised])
    expect(said.find(({ message }) => message === raised)).toMatchObject({
      level: 'warn',
      details: { state: 'raised', alert: { queue: 'orders', limit: 'maxReady', value: 2, max: 1 } },
    })
    expect(sentinel.figures().alerts).toMatchObject([{ queue: 'orders', value: 2 }])
    await bus.close()
  })

  test('is reported again while it lasts, with the current figure', async () => {
    const { said, clock, orders, sentinel, bus } = await alerting({ repeat: '10m' })
    const [{ since }] = sentinel.figures().alerts as [Alert]
    await orders.send(3)
    await clock.advance(10 * minute + 15_000)
    expect(sentinel.figures().alerts).toMatchObject([{ since, value: 3 }])
    expect(alertsIn(said)).toEqual([raised, 'repeated: orders has 3 ready messages; at most 1'])
    await bus.close()
  })

  test('is over when its figure was within the limit for a while', async () => {
    const { said, clock, orders, sentinel, bus } = await alerting({ resolveAfter: '30s' })
    await orders.pop()
    await clock.advance(25_000)
    expect(alertsIn(said)).toEqual([raised])
    await clock.advance(20_000)
    expect(alertsIn(said)).toEqual([raised, 'resolved: orders is within maxReady (1) again'])
    expect(said.at(-1)).toMatchObject({ level: 'info' })
    expect(sentinel.figures().alerts).toEqual([])
    await bus.close()
  })

  test('is neither resolved nor raised again while its figure oscillates', async () => {
    const { said, clock, orders, bus } = await alerting({ resolveAfter: '30s' })
    for (let time = 0; time < 20; time++) {
      if (time % 2 === 0) await orders.pop()
      else await orders.send(2)
      await clock.advance(15_000)
    }
    expect(alertsIn(said)).toEqual([raised])
    await bus.close()
  })

  test('of a queue that was dropped is over', async () => {
    const { said, clock, orders, bus } = await alerting()
    await orders.drop()
    await clock.advance(60_000)
    expect(alertsIn(said).at(-1)).toMatch(/^resolved/)
    await bus.close()
  })
})

describe('watching', () => {
  test('goes on when a check fails', async () => {
    const stage = scene()
    await stage.bus.queue('orders').send(1)
    const { engine, clock, said } = stage
    const describeQueues = engine.describe.bind(engine)
    engine.describe = async () => {
      throw new Error('the storage is away')
    }
    const sentinel = stage.bus.sentinel({ rules: [{ queues: '*', maxReady: 0 }] })
    await sentinel.start()
    await clock.advance(25_000)
    expect(sentinel.figures()).toMatchObject({ checks: 0, failedChecks: 3, checkedAt: null })
    engine.describe = describeQueues
    await clock.advance(10_000)
    expect(sentinel.figures()).toMatchObject({ checks: 1, failedChecks: 3, active: true })
    expect(alertsIn(said)).toEqual(['raised: orders has 1 ready message; at most 0'])
    await stage.bus.close()
  })

  test('shows its figures for metrics', async () => {
    const { bus, clock } = scene()
    await bus.queue('orders').sendBatch([{ data: 1 }, { data: 2 }])
    const sentinel = bus.sentinel({ rules: [{ queues: '*', maxReady: 10 }] })
    expect(sentinel.figures()).toMatchObject({ active: false, checks: 0, queues: [], webhook: null })
    await sentinel.start()
    await clock.advance(15_000)
    const figures = sentinel.figures()
    expect(figures).toMatchObject({ active: true, checks: 2, checkedAt: new Date(clock.now() - 5_000), pruned: 0 })
    expect(figures.queues).toMatchObject([{ queue: 'orders', ready: 2, dead: 0 }])
    await bus.close()
  })

  test('ends with the bus, and with its timers', async () => {
    const { bus, clock } = scene()
    const sentinel = bus.sentinel({ rules: [{ queues: '*', maxReady: 10 }] })
    await sentinel.start()
    await clock.advance(15_000)
    await bus.close()
    expect(sentinel.state).toBe('stopped')
    expect(sentinel.figures()).toMatchObject({ active: false, alerts: [], queues: [] })
    expect(clock.pending).toBe(0)
  })

  test('does not begin on a bus that is closed', async () => {
    const { bus } = scene()
    const sentinel = bus.sentinel()
    await bus.close()
    await refusal(() => sentinel.start(), 'CLOSED')
  })

  test('ends after the current check', async () => {
    const { bus, clock, engine } = scene()
    const sentinel = bus.sentinel({ rules: [{ queues: '*', maxReady: 10 }] })
    const describeQueues = engine.describe.bind(engine)
    const answers: (() => void)[] = []
    engine.describe = () => new Promise((resolve) => void answers.push(() => resolve(describeQueues(null))))
    await sentinel.start()
    await clock.advance(1_000)
    const stopping = sentinel.stop()
    await clock.advance(1_000)
    expect(sentinel.state).toBe('stopping')
    for (const answer of answers) answer()
    await stopping
    expect(sentinel.state).toBe('stopped')
  })

  test('maintains the storage', async () => {
    const { bus, clock, engine } = scene()
    let maintained = 0
    const maintain = engine.maintain.bind(engine)
    engine.maintain = (request) => {
      maintained++
      return maintain(request)
    }
    await bus.sentinel().start()
    await clock.advance(65_000)
    expect(maintained).toBe(3)
    await bus.close()
  })
})

describe('of several sentinels', () => {
  function two() {
    const stage = scene()
    const make = () => {
      const { said, logger } = listeningLogger()
      const bus = new Bus(stage.engine, { clock: stage.clock, logger })
      return { said, sentinel: bus.sentinel({ rules: [{ queues: 'orders', maxReady: 0 }] }) }
    }
    return { ...stage, first: make(), second: make() }
  }

  const areActive = (...sentinels: { sentinel: Sentinel }[]) =>
    sentinels.map(({ sentinel }) => sentinel.figures().active)

  test('one watches', async () => {
    const { clock, bus, first, second } = two()
    await bus.queue('orders').send(1)
    await first.sentinel.start()
    await clock.advance(1_000)
    await second.sentinel.start()
    await clock.advance(10 * minute)
    expect(areActive(first, second)).toEqual([true, false])
    expect(alertsIn(first.said)).toHaveLength(1)
    expect(second.said).toEqual([])
    await Promise.all([first.sentinel.stop(), second.sentinel.stop()])
  })

  test('another takes over at once when the active one stops, and raises the alerts that hold', async () => {
    const { clock, bus, first, second } = two()
    await bus.queue('orders').send(1)
    await first.sentinel.start()
    await second.sentinel.start()
    await clock.advance(minute)
    const [active, other] = first.sentinel.figures().active ? [first, second] : [second, first]
    await active.sentinel.stop()
    await clock.advance(2_100)
    expect(areActive(other)).toEqual([true])
    expect(alertsIn(other.said)).toHaveLength(1)
    await other.sentinel.stop()
  })

  test('another takes over within ten seconds when the active one is cut off, which reports nothing after that', async () => {
    const { clock, engine, bus, first, second } = two()
    const extend = engine.extend.bind(engine)
    await first.sentinel.start()
    await clock.advance(100)
    await second.sentinel.start()
    await clock.advance(minute)
    expect(areActive(first, second)).toEqual([true, false])
    // From now on the storage does not hear of the first one.
    let cut = true
    engine.extend = (...args) => (cut ? Promise.reject(new Error('no connection')) : extend(...args))
    await bus.queue('orders').send(1)
    await clock.advance(6_001)
    expect(areActive(first)).toEqual([false])
    await clock.advance(2_000)
    cut = false
    await clock.advance(1_999)
    expect(areActive(first, second)).toEqual([false, true])
    expect(alertsIn(second.said)).toHaveLength(1)
    await Promise.all([first.sentinel.stop(), second.sentinel.stop()])
  })

  test('a check that ends after the leadership was lost is not reported', async () => {
    const { clock, engine, bus, first } = two()
    await first.sentinel.start()
    await clock.advance(1_000)
    await bus.queue('orders').send(1)
    const describeQueues = engine.describe.bind(engine)
    const answers: (() => void)[] = []
    engine.describe = (queue) => new Promise((resolve) => answers.push(() => resolve(describeQueues(queue))))
    await clock.advance(10_000)
    engine.extend = () => Promise.reject(new Error('no connection'))
    await clock.advance(6_001)
    engine.describe = describeQueues
    for (const answer of answers) answer()
    await clock.advance(0)
    expect(areActive(first)).toEqual([false])
    expect(alertsIn(first.said)).toEqual([])
    await first.sentinel.stop()
  })

  test('a short outage of the storage does not end the leadership', async () => {
    const { clock, engine, first } = two()
    await first.sentinel.start()
    await clock.advance(10_000)
    const extend = engine.extend.bind(engine)
    engine.extend = () => Promise.reject(new Error('no connection'))
    await clock.advance(2_000)
    engine.extend = extend
    await clock.advance(4_000)
    expect(areActive(first)).toEqual([true])
    expect(first.said.filter(({ message }) => message === 'this sentinel is active')).toHaveLength(1)
    await first.sentinel.stop()
  })

  test('the leadership comes back after its queue was dropped', async () => {
    const { clock, engine, first } = two()
    await first.sentinel.start()
    await clock.advance(10_000)
    await engine.dropQueue('tidings_sentinel')
    await clock.advance(10_000)
    expect(areActive(first)).toEqual([true])
    await first.sentinel.stop()
  })
})

describe('archives', () => {
  async function archive({ bus }: Scene, queue: string, count: number) {
    await bus.queue(queue).sendBatch(Array.from({ length: count }, () => ({ data: 1 })))
    for (let left = count; left > 0; left -= 1_000)
      for (const message of await bus.queue(queue).read({ limit: Math.min(left, 1_000) })) await message.archive()
  }

  const archived = async ({ bus }: Scene, queue: string) => (await bus.queue(queue).stats()).archived

  test('are pruned by age and by number, by the first rule that fits', async () => {
    const stage = scene()
    for (const queue of ['orders', 'mails', 'logs']) await archive(stage, queue, 3)
    await stage.clock.advance(2 * 86_400_000)
    for (const queue of ['orders', 'mails', 'logs']) await archive(stage, queue, 3)
    const sentinel = stage.bus.sentinel({
      archives: [
        { queues: 'orders', keepFor: '1d' },
        { queues: 'mails', keep: 2 },
        { queues: 'o*', keep: 0 },
      ],
    })
    await sentinel.start()
    await stage.clock.advance(5_000)
    expect(await Promise.all(['orders', 'mails', 'logs'].map((queue) => archived(stage, queue)))).toEqual([3, 2, 6])
    expect(sentinel.figures().pruned).toBe(7)
    await stage.bus.close()
  })

  test('are pruned as their queues say where no rule fits', async () => {
    const stage = scene()
    for (const queue of ['orders', 'mails', 'logs']) await archive(stage, queue, 3)
    await stage.bus.queue('orders').configure({ retention: { keep: 1 } })
    await stage.bus.queue('mails').configure({ retention: { keep: 1 } })
    await stage.bus.queue('logs').configure({ retention: { keepFor: '10m' } })
    const sentinel = stage.bus.sentinel({ archives: [{ queues: 'mails', keep: 2 }] })
    await sentinel.start()
    await stage.clock.advance(5_000)
    expect(await Promise.all(['orders', 'mails', 'logs'].map((queue) => archived(stage, queue)))).toEqual([1, 2, 3])
    await stage.clock.advance(660_000)
    expect(await archived(stage, 'logs')).toBe(0)
    await stage.bus.close()
  })

  test('are pruned again later, even after failures', async () => {
    const stage = scene()
    await archive(stage, 'broken', 3)
    await archive(stage, 'orders', 6_000)
    const { maintain } = stage.engine
    stage.engine.maintain = async (request) => {
      if (request.kind === 'archive' && request.queue === 'broken') throw new Error('out of order')
      return maintain.call(stage.engine, request)
    }
    await stage.bus.sentinel({ archives: [{ queues: '*', keep: 10 }] }).start()
    await stage.clock.advance(5_000)
    expect(await archived(stage, 'orders')).toBe(10)
    await archive(stage, 'orders', 5)
    await stage.clock.advance(75_000)
    expect(await archived(stage, 'orders')).toBe(10)
    expect(stage.said.filter(({ message }) => message.startsWith('an archive could not be pruned'))).toHaveLength(2)
    await stage.bus.close()
  })
})

describe('options', () => {
  test.each<[options: unknown, code: string, message: string]>([
    [{ rule: [] }, 'OPTION_UNKNOWN', 'sentinel has no option "rule"'],
    [{ rules: {} }, 'TYPE', 'rules is an object; it must be an array'],
    [{ rules: [{}] }, 'TYPE', 'rules[0] has neither queues nor topics'],
    [
      { rules: [{ queues: '*' }] },
      'TYPE',
      'rules[0] has no limit; there are maxReady, maxOldestReady, maxDead, maxPaused, stalledAfter',
    ],
    [{ rules: [{ queues: '*', topics: '*', maxReady: 1 }] }, 'OPTION_CONFLICT', 'rules[0] has both queues and topics'],
    [{ rules: [{ queues: '*', maxLag: 1 }] }, 'OPTION_CONFLICT', 'rules[0].maxLag is no limit for queues'],
    [{ rules: [{ topics: '*', maxReady: 1 }] }, 'OPTION_CONFLICT', 'rules[0].maxReady is no limit for topics'],
    [{ rules: [{ queues: 'A', maxReady: 1 }] }, 'PATTERN_INVALID', 'rules[0].queues "A" contains "A"'],
    [
      { rules: [{ queues: '*', maxOldestReady: '5 lustra' }] },
      'DURATION',
      'rules[0].maxOldestReady is "5 lustra", which is not a duration',
    ],
    [{ archives: [{ queues: '*' }] }, 'TYPE', 'archives[0] has neither keepFor nor keep'],
    [{ archives: [{ keep: 1 }] }, 'TYPE', 'archives[0].queues is missing; it must be text'],
    [{ every: 1 }, 'RANGE', 'every is 1ms; it must be between 100ms and 1d'],
    [{ webhook: {} }, 'TYPE', 'webhook.url is missing; it must be text'],
    [
      { webhook: { url: 'https://a.example', secret: 'a', secretFile: 'b' } },
      'OPTION_CONFLICT',
      'webhook has both secret and secretFile',
    ],
    [{ webhook: { url: 'https://a.example', secret: '' } }, 'RANGE', 'webhook.secret is empty'],
    [
      { webhook: { url: 'http://localhost@10.0.0.1/' } },
      'URL_NOT_ALLOWED',
      'webhook.url has a user name or a password in it',
    ],
    [{ webhook: { url: 'http://10.0.0.1/' } }, 'URL_NOT_ALLOWED', 'webhook.url has the private address 10.0.0.1'],
  ])('%j are refused', async (options, code, message) => {
    const { bus } = scene()
    const error = await refusal(() => bus.sentinel(options as SentinelOptions))
    expect([error.code, error.message]).toEqual([code, message])
  })
})
