// The same server without Tidings: what the commands themselves cost, on one connection.
import { Redis } from 'ioredis'
import { throughput } from './measure.mjs'

const message = JSON.stringify({
  data: { name: 'Ada Lovelace', department: 'Engineering' },
  meta: { queue_name: 'raw' },
})
const key = 'bench_raw'

export function rawCommands(url) {
  const withRedis = async (use) => {
    const redis = new Redis(url)
    try {
      return await use(redis)
    } finally {
      await redis.del(key)
      redis.disconnect()
    }
  }
  return [
    {
      name: 'raw: LPUSH one by one, 50 in flight',
      unit: 'messages/s',
      run: () => withRedis((redis) => throughput(20_000, 50, () => redis.lpush(key, message))),
    },
    {
      name: 'raw: XADD one by one, 50 in flight',
      unit: 'messages/s',
      run: () => withRedis((redis) => throughput(20_000, 50, () => redis.xadd(key, '*', 'm', message))),
    },
    {
      name: 'raw: XADD in pipelines of 100, 4 in flight',
      unit: 'messages/s',
      run: () => withRedis(async (redis) => 100 * (await throughput(400, 4, () => addMany(redis, 100)))),
    },
    {
      name: 'raw: XREADGROUP 100, XACK and XDEL 100, 2 in flight',
      unit: 'messages/s',
      run: () =>
        withRedis(async (redis) => {
          for (let sent = 0; sent < 30_000; sent += 1_000) await addMany(redis, 1_000)
          await redis.xgroup('CREATE', key, 'group', '0')
          return 100 * (await throughput(300, 2, () => takeMany(redis)))
        }),
    },
  ]
}

function addMany(redis, count) {
  const pipeline = redis.pipeline()
  for (let at = 0; at < count; at++) pipeline.xadd(key, '*', 'm', message)
  return pipeline.exec()
}

async function takeMany(redis) {
  const [[, entries]] = await redis.xreadgroup('GROUP', 'group', 'reader', 'COUNT', 100, 'STREAMS', key, '>')
  const ids = entries.map(([id]) => id)
  await redis
    .pipeline()
    .xack(key, 'group', ...ids)
    .xdel(key, ...ids)
    .exec()
}
