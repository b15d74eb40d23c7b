import { setTimeout as wait } from 'node:timers/promises'
import { HttpEngine } from 'tidings/internal/engines/http/http'
import type { Feature } from 'tidings/internal/port/engine'
import { defineConformance, type Harness } from 'tidings-testkit'
import { afterAll, beforeAll, describe } from 'vitest'
import { runner, withUpkeepInTurn } from './support/conformance.ts'
import { startHttpServer, type TestHttpServer } from './support/http-server.ts'
import { sharedServer } from './support/shared-servers.ts'

/** A connection to a server that outlives it. What memory holds is durable enough for that. */
class Connection extends HttpEngine {
  override get supports(): ReadonlySet<Feature> {
    return new Set<Feature>([...super.supports, 'durable'])
  }
}

/** The suite through one `tidings serve`, to which every engine is a connection. */
function defineOver(
  name: string,
  storage: () => Promise<string>,
  supports: readonly Feature[],
  skips: Readonly<Record<string, string>> = {},
): void {
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
    defineConformance(runner, harness)
  })
}

defineOver('HTTP over memory', async () => 'memory:', ['durable', 'topics', 'limits'], {
  'durability: a message that has to be on disk is stored like any other': 'memory has no disk',
})
defineOver('HTTP over PostgreSQL 18', () => sharedServer('postgres18'), ['durable', 'events', 'limits', 'topics'])
