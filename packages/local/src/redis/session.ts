import type { Redis } from 'ioredis'
import { unavailable } from '../failures.ts'
import type { Description, Session } from '../server-type.ts'

/** The connection name of the sentinel in charge. The server forgets it when that process dies. */
const sentinelName = 'tidings-sentinel'

/** @throws LOCAL_UNAVAILABLE if the package is not installed */
export async function loadDriver(): Promise<typeof Redis> {
  try {
    return (await import('ioredis')).Redis
  } catch (error) {
    throw unavailable('the local Redis needs the package ioredis, which is not installed', {
      cause: error,
      hint: 'Install it: npm install ioredis',
    })
  }
}

/** @throws the system's error if no server takes connections */
async function connect(path: string): Promise<Redis> {
  const Driver = await loadDriver()
  const redis = new Driver({
    path,
    lazyConnect: true,
    enableReadyCheck: false,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    connectTimeout: 10_000,
  })
  let reason: unknown
  redis.on('error', (error) => {
    reason ??= error
  })
  try {
    await redis.connect()
    return redis
  } catch (error) {
    redis.disconnect()
    throw reason ?? error
  }
}

async function ask<T>(path: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = await connect(path)
  try {
    return await question(redis)
  } finally {
    redis.disconnect()
  }
}

/** Resolves if the server takes commands. @throws the server's error otherwise, such as LOADING */
export async function ping(path: string): Promise<void> {
  await ask(path, (redis) => redis.ping())
}

export function describe(path: string): Promise<Description> {
  return ask(path, async (redis) => {
    const [info, clients] = await Promise.all([redis.info('server'), redis.client('LIST') as Promise<string>])
    const valkey = fieldOf(info, 'valkey_version')
    const product = valkey ? 'Valkey' : 'Redis'
    return { product, version: valkey ?? fieldOf(info, 'redis_version')!, watched: isNamed(clients) }
  })
}

export async function openSentinelSession(path: string): Promise<Session> {
  const redis = await connect(path)
  return {
    async takeCharge() {
      // In one transaction: of two sentinels, one sees the name of the other.
      const answers = await redis.multi().client('LIST').client('SETNAME', sentinelName).exec()
      return !isNamed(String(answers![0]![1]))
    },
    async use() {
      const info = await redis.info()
      return {
        clients: Number(fieldOf(info, 'connected_clients')) - 1,
        past: fieldOf(info, 'total_connections_received')!,
      }
    },
    onEnd(ended) {
      if (redis.status === 'end') ended()
      else redis.once('end', ended)
    },
    async end() {
      redis.disconnect()
    },
  }
}

const isNamed = (clients: string) => clients.includes(` name=${sentinelName} `)

function fieldOf(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
}
