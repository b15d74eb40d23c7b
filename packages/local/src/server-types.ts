import type { KindName } from './paths.ts'
import { findPlace } from './paths.ts'
import { postgres } from './postgres/postgres.ts'
import { redis } from './redis/redis.ts'
import type { ServerKind } from './server-type.ts'

export const kinds: Readonly<Record<KindName, ServerKind>> = { postgres, redis }

/**
 * The kind of server that a directory holds the data of; undefined if there are none.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function kindIn(directory: string): Promise<ServerKind | undefined> {
  for (const kind of Object.values(kinds)) {
    const place = await findPlace(directory, kind.name)
    if (place && (await kind.madeBy(place.dataDirectory)) !== undefined) return kind
  }
  return undefined
}
