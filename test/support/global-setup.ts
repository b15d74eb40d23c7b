import type {} from 'vitest'
import type { TestProject } from 'vitest/node'
import { startPostgres } from './postgres.ts'
import { redisProgram, startRedis, startValkey, type TestRedis } from './redis.ts'
import { joinCluster } from './redis-cluster.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL of a PostgreSQL 15 that all test files share; each makes its own database in it, or uses names of its own. */
    postgres15: string
    /** The same for PostgreSQL 18. */
    postgres18: string
    /** URL of a Redis that all test files share; each uses names of its own. It keeps its data on disk. */
    redis: string
    /** The same for Valkey; null where its package cannot be had, which the run says at its start. */
    valkey: string | null
    /**
     * URL of a Redis Cluster that all test files share: `redis+cluster://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3`. It takes
     * two seconds to be ready, which only those wait for who use it: `await readyCluster(inject('redisCluster'))`.
     */
    redisCluster: string
  }
}

/** Starts what all test files share, once per run; a server that cannot start fails the run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const starting = [startPostgres(15), startPostgres(18), startRedis(), valkeyIfThere(), joinCluster()] as const
  const stop = async () => {
    for (const server of await Promise.allSettled(starting))
      if (server.status === 'fulfilled') await server.value?.stop()
  }
  try {
    const [fifteen, eighteen, redis, valkey, cluster] = await Promise.all(starting)
    project.provide('postgres15', fifteen.url)
    project.provide('postgres18', eighteen.url)
    project.provide('redis', redis.url)
    project.provide('valkey', valkey?.url ?? null)
    project.provide('redisCluster', cluster.url)
  } catch (error) {
    await stop()
    throw error
  }
  return stop
}

/** Not every release of Debian has it; a Valkey that is there and does not start fails the run all the same. */
async function valkeyIfThere(): Promise<TestRedis | null> {
  try {
    await redisProgram('valkey-server')
  } catch (error) {
    console.warn(`Without Valkey: ${(error as Error).message}`)
    return null
  }
  return startValkey()
}
