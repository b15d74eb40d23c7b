// npm run bench -- [--engine postgres] [--fsync always] [--url …] [--rounds 5] [--only topic,claim] [--json]
// What claims cost among other messages, topics, and what telemetry costs. Sending and processing is measured beside the peers (peers/).
// Without a URL: a server of its own. --engine is postgres, redis, valkey or memory; --fsync is appendfsync of a Redis.
import { parseArgs } from 'node:util'
import { connect } from 'tidings'
import { measure, printMedians } from './measure.mjs'
import { storages } from './storages.mjs'
import { telemetryWork } from './telemetry.mjs'
import { topicWork } from './topics.mjs'

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'postgres' },
    fsync: { type: 'string', default: 'always' },
    url: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const storage = storages[values.engine]
if (!storage) throw new Error(`--engine is '${values.engine}'; it must be ${Object.keys(storages).join(', ')}`)
const server = values.url ? { url: values.url, stop: async () => {} } : await storage.start({ fsync: values.fsync })
const bus = await connect(server.url)
try {
  const wanted = values.only?.split(',')
  const scenarios = [...topicWork(bus), ...telemetryWork(server.url), ...storage.own(server.url, bus)].filter(
    ({ name }) => !wanted || wanted.some((word) => name.includes(word)),
  )
  const log = values.json ? () => {} : (line) => console.error(line)
  const results = await measure(scenarios, Number(values.rounds), log)
  if (values.json) console.log(JSON.stringify(results, null, 2))
  else printMedians(results)
} finally {
  await bus.close()
  await server.stop()
}
