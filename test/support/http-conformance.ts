import { setTimeout as wait } from 'node:timers/promises'
import { HttpEngine } from 'tidings/internal/engines/http/http'
import type { Feature } from 'tidings/internal/port/engine'
import { defineConformance, type Harness } from 'tidings-testkit'
import { afterAll, beforeAll, describe } from 'vitest'
import { runner, withUpkeepInTurn } from './conformance.ts'
import { startHttpServer, type TestHttpServer } from './http-server.ts'
import { sharedServer } from './shared-servers.ts'

/** A connection to a server that outlives it. What memory holds is durable enough for that. */
class Connection extends HttpEngine {
  override get supports(): ReadonlySet<Feature> {
    return new Set<Feature>([...super.supports, 'durable'])
  }
}

interface Server {
  /** URL of what it serves. */
  readonly storage: () => Promise<string>
  readonly supports: readonly Feature[]
  readonly skips?: Harness['skips']
}

/** The suite through one `tidings serve`, to which every engine is a connection. */
export function defineOverHttp(name: string, { storage, supports, skips = {} }: Server, using = runner): void {
  describe(name, () => {
    let server: TestHttpServer | undefined
    beforeAll(async () => {
      server = await startHttpServer(await storage())
    })
    afterAll(() => server?.stop())

    const open = async () => {
      const engine = new Connection({ url: server!.url, token: null })
      await engine.open()
      return withUpkeepInTurn(engine)
    }
    const harness: Harness = {
      name,
      supports,
      skips,
      createEngine: open,
      secondEngine: open,
      // The server's clock runs like ours, but timers may be early by a millisecond.
      passTime: (_engine, milliseconds) => wait(milliseconds + 5),
    }
    defineConformance(using, harness)
  })
}

export const overPostgres = {
  storage: () => sharedServer('postgres18'),
  supports: ['durable', 'events', 'limits', 'topics'],
} as const
