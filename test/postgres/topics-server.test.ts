import type { Transaction } from 'tidings/internal/port/engine'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, newName, openEngine, queryAlone as query, until } from './support.ts'
import { labelled, numbers, readAll } from './topic-support.ts'

describe('a database whose transactions have snapshots of their own', () => {
  test('takes messages of several publishers without a gap', async () => {
    const { url, drop } = await newDatabase(await sharedServer('postgres18'))
    await query(
      url,
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET default_transaction_isolation = 'serializable'`,
    )
    const engines = [await openEngine(url), await openEngine(url)]
    await engines[0]!.topics.createTopic('news', {})
    const queue = newName('queue')
    await engines[0]!.createQueue(queue)
    await engines[0]!.bind({ topic: 'news', queue })
    await Promise.all(
      engines.flatMap((engine) =>
        numbers(1, 4).map(async () => {
          for (let round = 0; round < 10; round++) await engine.topics.append('news', [labelled('m')], null)
        }),
      ),
    )
    expect((await readAll(engines[0]!, 'news')).map(({ offset }) => offset)).toEqual(numbers(1, 80))
    expect(await engines[0]!.stats(queue)).toMatchObject({ ready: 80 })
    for (const engine of engines) await engine.close()
    await drop()
  }, 300_000)
})

describe('a server that is killed while two publishers append', () => {
  let server: TestPostgres
  beforeAll(async () => {
    server = await startPostgres(18)
  })
  afterAll(() => server.stop())

  test('keeps all that were acknowledged, without a gap', async () => {
    const first = await openEngine(server.url)
    await first.topics.createTopic('log', {})
    await first.close()
    const acknowledged = new Map<string, number>()
    for (let round = 0; round < 4; round++) {
      const engine = await openEngine(server.url)
      let killed = false
      const publisher = async (name: number) => {
        for (let number = 1; !killed; number++) {
          const label = `${round}/${name}/${number}`
          try {
            const append = (transaction: Transaction | null) =>
              engine.topics.append('log', [labelled(label)], transaction)
            const [result] = name === 0 ? await append(null) : await engine.transaction(append)
            acknowledged.set(label, result?.offset ?? 0)
          } catch (error) {
            expect(error).toMatchObject({ code: expect.stringMatching(/^(OUTCOME_UNKNOWN|CONNECTION_|STORAGE_)/) })
            return
          }
        }
      }
      const publishing = Promise.all([0, 1].map(publisher))
      const enough = acknowledged.size + 20
      await until(() => acknowledged.size >= enough, 'some were acknowledged')
      await server.kill()
      killed = true
      await publishing
      await engine.close()
      await server.restart()
    }
    const engine = await openEngine(server.url)
    const seen = await readAll(engine, 'log')
    await engine.close()
    expect(seen.map(({ offset }) => offset)).toEqual(numbers(1, seen.length))
    const offsets = new Map(seen.map(({ offset, label }) => [label, offset]))
    for (const [label, offset] of acknowledged) {
      expect(offsets.has(label)).toBe(true)
      if (offset > 0) expect(offsets.get(label)).toBe(offset)
    }
  }, 300_000)
})
