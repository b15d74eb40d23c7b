// What is aimed at, as ratios within one run, and what was measured of it.

const cpuOf = ({ client, server } = {}) => (client && server ? client.median + server.median : undefined)

/**
 * @returns rows { target, measured, reached, bare }, where reached is null for what was not measured. bare: what the plain
 *   statements or commands of the storage reach, without a queue around them, where that shows what there is to gain
 */
export function judge(results) {
  const figuresOf = (workload, id) =>
    results.find((result) => result.workload === workload)?.contenders.find((contender) => contender.id === id)?.figures
  /** The better configuration of a peer. */
  const best = (workload, key, name, choose) => {
    const values = [key, `${key}:best`].map((id) => figuresOf(workload, id)?.[name]?.median).filter((value) => value)
    return values.length > 0 ? choose(...values) : undefined
  }
  const rate = (workload, key) => best(workload, key, 'rate', Math.max)
  const defaultRate = (workload, key) => figuresOf(workload, key)?.rate?.median
  const cpu = (workload, key) => {
    const values = [key, `${key}:best`].map((id) => cpuOf(figuresOf(workload, id))).filter((value) => value)
    return values.length > 0 ? Math.min(...values) : undefined
  }
  const onPostgres = ['pg-boss', 'graphile-worker', 'pgmq-js', 'bullmq'].map((key) => `${key}:postgres`)
  const ours = 'tidings:postgres'
  const rows = []

  const times = (value, other) => `${(value / other).toFixed(2)} ×`
  const atLeast = (target, value, other, factor, bare) =>
    rows.push(
      value && other
        ? {
            target,
            measured: times(value, other),
            reached: value >= other * factor,
            bare: bare ? times(bare, other) : '',
          }
        : { target, measured: 'not measured', reached: null },
    )
  const atMost = (target, value, limit, unit) =>
    rows.push(
      value === undefined
        ? { target, measured: 'not measured', reached: null }
        : { target, measured: `${value.toFixed(1)} ${unit}`, reached: value <= limit },
    )
  const known = (values) => values.filter((value) => value !== undefined)
  const most = (values) => (known(values).length > 0 ? Math.max(...known(values)) : undefined)
  const least = (values) => (known(values).length > 0 ? Math.min(...known(values)) : undefined)

  const fifty = 'send, 50 in flight'
  atLeast(`${fifty}: PostgreSQL at least 10 × pg-boss`, rate(fifty, ours), rate(fifty, 'pg-boss:postgres'), 10)
  atLeast(`${fifty}: PostgreSQL at least 2 × BullMQ, always`, rate(fifty, ours), rate(fifty, 'bullmq:always'), 2)

  const [byDefault, bySettings] = ['process, defaults', 'process, best settings']
  const asComes = defaultRate(byDefault, ours)
  atLeast(
    'process at defaults: at least 20 × the best default of a peer on PostgreSQL',
    asComes,
    most(onPostgres.map((key) => defaultRate(byDefault, key))),
    20,
  )
  atLeast(
    'process at defaults: not below the best settings of a peer on PostgreSQL',
    asComes,
    most(onPostgres.map((key) => rate(bySettings, key))),
    1,
    rate(bySettings, 'raw-sql:postgres'),
  )

  for (const workload of ['send, 1 in flight', 'process in strict order', 'latency, 50 messages a second']) {
    const others = onPostgres.map((key) => cpu(workload, key))
    atLeast(`${workload}: less CPU than every peer on PostgreSQL`, least(others), cpu(workload, ours), 1)
    atLeast(
      `${workload}: at most 1.6 × the CPU of raw SQL`,
      cpu(workload, 'raw-sql:postgres'),
      cpu(workload, ours),
      1 / 1.6,
    )
    if (workload.startsWith('latency')) {
      const p50 = (key) => best(workload, key, 'p50', Math.min)
      atLeast(`${workload}: p50 below every peer on PostgreSQL`, least(onPostgres.map(p50)), p50(ours), 1)
      atLeast(`${workload}: p50 at most 1.6 × raw SQL`, p50('raw-sql:postgres'), p50(ours), 1 / 1.6)
    } else {
      const rates = onPostgres.map((key) => rate(workload, key))
      atLeast(`${workload}: faster than every peer on PostgreSQL`, rate(workload, ours), most(rates), 1)
      atLeast(
        `${workload}: at most 1.6 × the time of raw SQL`,
        rate(workload, ours),
        rate(workload, 'raw-sql:postgres'),
        1 / 1.6,
      )
    }
  }

  for (const workload of ['send in bulk of 100, 4 in flight', 'send in bulk of 1,000, 4 in flight']) {
    const raw = rate(workload, 'raw-sql:postgres')
    atLeast(`${workload}: at most 2 × the time of raw SQL`, rate(workload, ours), raw, 0.5)
    const rates = onPostgres.map((key) => rate(workload, key))
    atLeast(`${workload}: above every peer on PostgreSQL`, rate(workload, ours), most(rates), 1, raw)
  }

  for (const server of ['always', 'everysec'])
    for (const { workload, contenders } of results) {
      const ids = contenders.filter(({ figures }) => figures.rate).map(({ id }) => id)
      const has = (key) => ids.some((id) => id === key || id === `${key}:best`)
      const isPaced = workload.startsWith('latency')
      if (isPaced || !has(`tidings:${server}`) || !has(`bullmq:${server}`)) continue
      atLeast(
        `${workload}: Redis, ${server}, at least 3 × BullMQ`,
        rate(workload, `tidings:${server}`),
        rate(workload, `bullmq:${server}`),
        3,
        rate(workload, `raw-redis:${server}`),
      )
    }

  const slowly = 'latency, 50 messages a second'
  const redis = (name) => best(slowly, 'tidings:always', name, Math.min)
  const theirs = best(slowly, 'bullmq:always', 'p50', Math.min)
  atLeast(`${slowly}: p50 on Redis at most that of BullMQ, always`, theirs, redis('p50'), 1)
  atMost(`${slowly}: p99 on Redis at most 10 ms`, redis('p99'), 10, 'ms')
  const busily = 'latency, 10,000 messages a second'
  for (const [key, name] of [
    ['tidings:postgres', 'PostgreSQL'],
    ['tidings:always', 'Redis'],
  ])
    atMost(`${busily}: p99 on ${name} at most 30 ms`, best(busily, key, 'p99', Math.min), 30, 'ms')

  const topic = 'publish to a topic with 3 subscriptions, 4 processes'
  const queue = 'send, 50 in flight in each of 4 processes'
  atLeast(
    'publish to a topic from 4 processes: at least half of what queues do',
    rate(topic, ours),
    rate(queue, ours),
    0.5,
  )

  for (const key of ['tidings:postgres', 'tidings:always'])
    for (const { workload } of results) {
      if (!/behind|waiting|snapshot/.test(workload)) continue
      const base = workload.includes('snapshot') ? 'send and process at once, two processes' : bySettings
      const value = rate(workload, key)
      if (value)
        atLeast(
          `${workload}: ${key.endsWith('always') ? 'Redis' : 'PostgreSQL'} at least 70 % of without`,
          value,
          rate(base, key),
          0.7,
        )
    }

  for (const { workload } of results.filter(({ workload: name }) => name.startsWith('idle')))
    for (const [key, what] of [
      [ours, 'below one statement a second'],
      ['tidings:always', 'on Redis: below one command a second'],
    ])
      atMost(
        key === ours ? `${workload}: ${what}` : `${workload} ${what}`,
        figuresOf(workload, key)?.statements?.median,
        1,
        'a second',
      )
  return rows
}
