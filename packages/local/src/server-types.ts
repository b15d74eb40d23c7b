import type { ServerTypeName } from './paths.ts'
import { findPaths } from './paths.ts'
import { postgres } from './postgres/postgres.ts'
import { redis } from './redis/redis.ts'
import type { ServerType } from './server-type.ts'

export const serverTypes: Readonly<Record<ServerTypeName, ServerType>> = { postgres, redis }

/**
 * The type of server whose data a directory holds; undefined without data.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function serverTypeIn(directory: string): Promise<ServerType | undefined> {
  for (const type of Object.values(serverTypes)) {
    const paths = await findPaths(directory, type.name)
    if (paths && (await type.madeBy(paths.dataDirectory)) !== undefined) return type
  }
  return undefined
}
