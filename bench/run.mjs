// npm run bench -- [--url postgres://…] [--rounds 5] [--only send,process] [--json]
// Without a URL: a local PostgreSQL of its own, with full durability, in a temporary directory.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect } from '../dist/index.js'
import { ensureLocal, stopLocal } from '../dist/local/local.js'
import { claimCost } from './claim-cost.mjs'
import { measure, printTable } from './measure.mjs'
import { queueWork } from './queue-work.mjs'
import { rawStatements } from './raw.mjs'
import { topicWork } from './topics.mjs'

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const directory = values.url ? undefined : mkdtempSync(join(tmpdir(), 'tidings-bench-'))
// So that the server can reach its data there when root runs this.
if (directory) chmodSync(directory, 0o755)
const local = directory && (await ensureLocal(directory))
const url =
  values.url ??
  `postgres://${local.user}@localhost:${local.port}/${local.database}?host=${encodeURIComponent(local.host)}`
const bus = await connect(url)
try {
  const wanted = values.only?.split(',')
  const scenarios = [...queueWork(bus), ...rawStatements(url), ...claimCost(url), ...topicWork(bus, url)].filter(
    ({ name }) => !wanted || wanted.some((word) => name.includes(word)),
  )
  const log = values.json ? () => {} : (line) => console.error(line)
  const results = await measure(scenarios, Number(values.rounds), log)
  if (values.json) console.log(JSON.stringify(results, null, 2))
  else printTable(results)
} finally {
  await bus.close()
  if (directory) {
    await stopLocal(directory)
    rmSync(directory, { recursive: true, force: true })
  }
}
