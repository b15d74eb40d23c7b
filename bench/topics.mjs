// Topics: publishing, following, and publishing while somebody else keeps a transaction open.
import pg from 'pg'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { throughput } from './measure.mjs'

const data = { name: 'Ada Lovelace', email: 'ada@example.org', department: 'Engineering', starts: '2026-12-01' }
const batch = Array.from({ length: 100 }, () => ({ data }))
const message = {
  data: JSON.stringify(data),
  meta: {},
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

export function topicWork(bus) {
  return [
    {
      name: 'topic: publish one by one, 50 in flight',
      unit: 'messages/s',
      run: () => withTopic(bus, (topic) => throughput(20_000, 50, () => topic.publish(data))),
    },
    {
      name: 'topic: publish in batches of 100',
      unit: 'messages/s',
      run: () => withTopic(bus, async (topic) => 100 * (await throughput(400, 4, () => topic.publishBatch(batch)))),
    },
    {
      name: 'topic: read 100 and acknowledge them',
      unit: 'messages/s',
      run: () => withTopic(bus, (topic) => follow(bus, topic)),
    },
  ]
}

/** What a transaction that somebody holds open costs the others. */
export function topicsOnPostgres(bus, url) {
  return [
    {
      name: 'topic: 4 processes append one by one',
      unit: 'messages/s',
      run: () => withTopic(bus, ({ name }) => appendByMany(url, name)),
    },
    {
      name: 'topic: 4 processes append one by one, another one has a transaction open',
      unit: 'messages/s',
      run: () => withTopic(bus, ({ name }) => whileOpen(url, name, () => appendByMany(url, name))),
    },
    {
      name: 'topic: append in transactions of an application, 4 at a time',
      unit: 'messages/s',
      run: () => withTopic(bus, ({ name }) => appendInTransactions(bus, name)),
    },
  ]
}

async function withTopic(bus, use) {
  const topic = bus.topic(`bench_${Math.random().toString(36).slice(2, 10)}`)
  await topic.create()
  try {
    return await use(topic)
  } finally {
    await topic.drop()
  }
}

async function follow({ engine: { topics } }, { name }) {
  const total = 20_000
  for (let sent = 0; sent < total; sent += 10_000) await topics.append(name, Array(10_000).fill(message), null)
  await topics.subscribe(name, 's', 'earliest')
  const { receipt } = await topics.hold(name, 's', 'bench', 60_000)
  const startedAt = performance.now()
  for (let cursor = 0; cursor < total; ) {
    cursor = (await topics.read(name, cursor, 100)).at(-1).offset
    await topics.ack(name, 's', cursor, receipt)
  }
  return (total / (performance.now() - startedAt)) * 1000
}

/** Each with connections of its own, as processes have them. */
async function appendByMany(url, topic) {
  const engines = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const engine = new PostgresEngine({ url })
      await engine.open()
      return engine
    }),
  )
  let next = 0
  try {
    return await throughput(3_000, 4, () => engines[next++ % 4].topics.append(topic, [message], null))
  } finally {
    for (const engine of engines) await engine.close()
  }
}

async function whileOpen(url, topic, work) {
  const client = new pg.Client({ connectionString: url })
  const engine = new PostgresEngine({ url })
  await Promise.all([client.connect(), engine.open()])
  await client.query('BEGIN')
  await engine.topics.append(topic, [message], { query: (text, values) => client.query(text, [...values]) })
  try {
    return await work()
  } finally {
    await client.query('COMMIT')
    await client.end()
    await engine.close()
  }
}

function appendInTransactions({ engine }, topic) {
  return throughput(2_000, 4, () => engine.transaction((tx) => engine.topics.append(topic, [message], tx)))
}
