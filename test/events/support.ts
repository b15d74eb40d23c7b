import { connect } from 'tidings'
import type { Bus } from 'tidings/internal/bus/bus'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import type { QueueEvent } from 'tidings/internal/events/event'
import type { Events } from 'tidings/internal/events/events'
import type { EventsOptions } from 'tidings/internal/events/options'
import { afterAll } from 'vitest'
import { migratedDatabase, query, until } from '../postgres/support.ts'
import { startHttpServer } from '../support/http-server.ts'

type Settings = Parameters<typeof eventsMigration>[0]

/** How a bus reaches its database. */
type Way = 'direct' | 'over HTTP'

/** What a test works with. */
interface Scene {
  readonly bus: Bus
  /** The database. */
  readonly url: string
  /** What the bus is connected to. */
  readonly at: string
}

/** Databases of a test file, each with its own bus, and with its own `tidings serve` on the way; removed at its end. */
export function databases(way: Way = 'direct') {
  const scenes: (() => Promise<void>)[] = []
  afterAll(async () => {
    // Together: the server writes everything to disk for each database that is dropped, and once for several at a time.
    await Promise.all(scenes.map((close) => close()))
  })

  /** @param settings of the migration; null: it is not applied */
  return async (postgres: string, settings: Settings | null = {}): Promise<Scene> => {
    const database = await migratedDatabase(postgres)
    const server = way === 'direct' ? undefined : await startHttpServer(database.url)
    const at = server?.url ?? database.url
    const bus = await connect(at)
    scenes.push(async () => {
      await bus.close()
      await server?.stop()
      await database.drop()
    })
    if (settings !== null) await query(database.url, eventsMigration(settings).up)
    return { bus, url: database.url, at }
  }
}

/** Listens, and keeps what comes. */
export async function record(bus: Bus, options?: EventsOptions): Promise<{ events: Events; seen: QueueEvent[] }> {
  const events = bus.events(options)
  const seen: QueueEvent[] = []
  await events.listen((event) => void seen.push(event))
  return { events, seen }
}

/** Waits for so many events, and takes them. */
export async function exactly(seen: QueueEvent[], count: number): Promise<QueueEvent[]> {
  await until(() => seen.length >= count, `${count} events came; there are ${JSON.stringify(seen)}`)
  return seen.splice(0)
}
