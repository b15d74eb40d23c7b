import { connect } from 'tidings'
import { createServer } from 'tidings-server'
import { expect, test } from 'vitest'
import { publicProperties } from './support/public-properties.ts'

const isTime = (name: string) => /(?:\bat|At|[Ss]ince|[Uu]ntil|Time|_at|_time)$/.test(name)

/** What travels in a message is JSON: its times are ISO 8601 texts. */
const inMessages = /^(?:MessageMeta|SentMeta|Completion)\./

test('every time of the API is a Date; an option takes an ISO 8601 text too', () => {
  const times = publicProperties().filter(({ name }) => isTime(name) && !inMessages.test(name))
  expect(times.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'QueueInfo.createdAt',
      'Pause.until',
      'PauseOptions.until',
      'Alert.since',
      'PgmqMetrics.scrapeTime',
    ]),
  )
  const others = times.filter(({ types, optional }) => {
    const expected = optional && types.length > 1 ? 'Date,string' : 'Date'
    return [...types].sort().join() !== expected
  })
  expect(others).toEqual([])
})

test('meta of messages has the names of the API wherever it is told', () => {
  // What hides parts of messages changes what HTTP shows.
  const others = /^(?:Pgmq|ShownMessage|Redaction)/
  const metas = publicProperties().filter(({ name }) => name.endsWith('.meta') && !others.test(name))
  expect(metas.length).toBeGreaterThan(8)
  expect(metas.filter(({ types }) => !/^(?:MessageMeta(?:,JsonObject)?|SentMeta)$/.test(types.join()))).toEqual([])
})

test('every time of the HTTP server is an ISO 8601 text', async () => {
  const bus = await connect('memory:')
  const answer = await createServer(bus).fetch(new Request('http://localhost/openapi.json'))
  const times = timesIn(await answer.json())
  await bus.close()
  expect(times.length).toBeGreaterThan(20)
  expect(times.filter(([, schema]) => !JSON.stringify(schema).includes('"format":"date-time"'))).toEqual([])
})

/** Schemas of properties that are named as times, wherever they stand. */
function timesIn(value: unknown): [name: string, schema: unknown][] {
  if (typeof value !== 'object' || value === null) return []
  const { properties = {} } = value as { properties?: object }
  const own = Object.entries(properties).filter(([name]) => isTime(name))
  return [...own, ...Object.values(value).flatMap(timesIn)]
}
