// npm run bench:peers -- [--only latency --only send] [--contenders tidings,raw-sql] [--servers postgres,always,everysec]
//   [--rounds 5] [--long] [--json] [--write] [--list]
// Runs each workload for one contender after the other, in turns. --write makes docs/benchmarks.md and its
// charts, with what --note says of the machine.
import { parseArgs } from 'node:util'
import { competitors, contendersOf, loadPeers } from './peers.mjs'
import { printResults, summary } from './results.mjs'
import { Stages, startServer } from './stage.mjs'
import { longWorkloads, workloads } from './workloads.mjs'

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    contenders: { type: 'string' },
    servers: { type: 'string', default: Object.keys(competitors).join(',') },
    rounds: { type: 'string', default: '5' },
    long: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    note: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})

const words = (list) => list?.split(',')
const isNamed = (name, list) => !list || list.some((word) => name.includes(word))
const chosen = [...workloads, ...(values.long ? longWorkloads : [])].filter(({ name }) => isNamed(name, values.only))

const peers = await loadPeers()
const names = words(values.servers)
const unknown = names.find((name) => !competitors[name])
if (unknown) throw new Error(`--servers has '${unknown}'; there are ${Object.keys(competitors).join(', ')}`)
const plan = chosen.map((workload) => ({
  workload,
  contenders: contendersOf(peers, workload.kind, names)
    .filter((contender) => !workload.only || workload.only(contender))
    .filter(({ variant }) => !workload.variants || workload.variants.includes(variant))
    .filter(({ id }) => isNamed(id, words(values.contenders))),
}))

if (plan.every(({ contenders }) => contenders.length === 0))
  throw new Error('nothing has these names; --list shows all')

if (values.list) {
  for (const { workload, contenders } of plan)
    console.log(`${workload.name}\n${contenders.map(({ id }) => `  ${id}`).join('\n')}`)
  process.exit()
}

const startedAt = performance.now()
const rounds = Number(values.rounds)
const servers = {}
const stages = new Stages({ servers, peers, long: values.long })
const results = []
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    interrupted = true
    // Fails what is under way.
    void stages.stop()
  })
try {
  for (const name of names) servers[name] = await startServer(name)
  for (const { workload, contenders } of plan) {
    if (contenders.length === 0 || interrupted) continue
    const beganAt = performance.now()
    const runs = new Map(contenders.map(({ id }) => [id, []]))
    // A round before them warms up, and shows how much there has to be.
    const last = Math.min(rounds, values.long ? rounds : (workload.rounds ?? rounds))
    for (let round = workload.rounds ? 1 : 0; round <= last; round++)
      for (const contender of contenders) {
        if (interrupted) break
        const run = await once(workload, contender, round === 0)
        if (round > 0) runs.get(contender.id).push(run)
      }
    const result = {
      workload: workload.name,
      seconds: (performance.now() - beganAt) / 1_000,
      contenders: contenders.map(({ id, title, key, server, variant }) => ({
        id,
        title,
        key,
        server,
        variant,
        ...summary(runs.get(id)),
      })),
    }
    results.push(result)
    if (!values.json) printResults(result)
  }
} finally {
  await stages.stop()
  for (const server of Object.values(servers)) await server.stop()
}

const minutes = (performance.now() - startedAt) / 60_000
const report = {
  note: values.note,
  rounds,
  minutes,
  servers: Object.values(servers).map(({ title }) => title),
  results,
}
if (values.json) console.log(JSON.stringify(report, null, 2))
else console.log(`${minutes.toFixed(1)} minutes`)
if (values.write && !interrupted) await (await import('./page.mjs')).writePage(report)

async function once(workload, contender, warming) {
  for (let attempt = 1; ; attempt++) {
    let run
    try {
      run = await stages.run(workload, contender, { warming })
    } catch (error) {
      run = { void: `failed: ${error.message.split('\n')[0].slice(0, 120)}` }
    }
    if (!run.again) {
      if (run.void && !interrupted) console.error(`${workload.name}, ${contender.id}: ${run.void}`)
      return run
    }
    if (attempt === 4) return { void: 'ended before it was measured' }
  }
}
