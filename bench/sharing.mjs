// node bench/sharing.mjs [--groups 10000] [--claims 2000] [--rounds 3] [--only memory,redis,postgres], after `npm run build`.
//
// What a claim costs behind groups of which nothing can be claimed, beside one in a queue without them: a message is sent,
// claimed and deleted, in turns in a clean queue, in a clean queue with limits, and behind the groups. Time of the client; on
// Redis of the server, too.
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { connect } from 'tidings'
import { median } from './measure.mjs'
import { storages } from './storages.mjs'

const { values } = parseArgs({
  options: {
    groups: { type: 'string', default: '10000' },
    claims: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'memory,redis' },
  },
})
const [groups, claims, rounds] = [values.groups, values.claims, values.rounds].map(Number)

for (const name of values.only.split(',')) {
  const storage = name === 'memory' ? { url: 'memory:', stop() {} } : await storages[name].start({ fsync: 'everysec' })
  const redis = name === 'redis' ? new Redis(storage.url) : null
  const bus = await connect(storage.url)
  const limits = [{ per: 'group', concurrency: 1 }]
  // Memory walks all messages at each claim: the others have as many, of groups that are not blocked.
  const others = name === 'memory' ? groups : 0
  const clean = await queueWith('clean', { blocked: others })
  const limited = await queueWith('limited', { blocked: others, limits: [{ per: 'group', concurrency: 2 }] })
  const behind = await queueWith('behind', { blocked: groups, limits })
  const figures = new Map()
  for (let round = 0; round <= rounds; round++)
    for (const [what, queue] of [
      ['clean', clean],
      ['limited', limited],
      ['behind', behind],
    ]) {
      const took = await measure(queue, name === 'memory' ? claims / 20 : claims)
      // The first round warms up.
      if (round > 0) figures.set(what, [...(figures.get(what) ?? []), took])
    }
  const of = (what, which) => median(figures.get(what).map((one) => one[which]))
  for (const which of redis ? ['client', 'server'] : ['client']) {
    const [base, ...rest] = ['clean', 'limited', 'behind'].map((what) => of(what, which))
    const shown = rest.map((us) => `${us.toFixed(0)} µs (${(us / base).toFixed(2)})`)
    console.log(
      `${name}, ${which}: clean ${base.toFixed(0)} µs, with limits ${shown[0]}, behind ${groups} groups ${shown[1]}`,
    )
  }
  redis?.disconnect()
  await bus.close()
  await storage.stop()

  async function queueWith(label, { blocked = 0, limits = null }) {
    const queue = bus.queue(`sharing_${label}`)
    await queue.create()
    if (limits) await queue.configure({ limits })
    // Two of each: one is leased, and the other waits for it.
    for (const part of blocked > 0 ? [1, 2] : [])
      await queue.sendBatch(Array.from({ length: blocked }, (_, index) => ({ data: part, group: `blocked${index}` })))
    for (let left = blocked; left > 0; ) left -= (await queue.read({ limit: 1_000, lease: '1h' })).length
    return queue
  }

  async function measure(queue, count) {
    const before = await used()
    const startedAt = performance.now()
    for (let done = 0; done < count; done++) {
      await queue.send(done, { group: queue === clean ? undefined : `free${done % 10}` })
      const [message] = await queue.read()
      await message.delete()
    }
    const server = ((await used()) - before) / count
    return { client: ((performance.now() - startedAt) * 1_000) / count, server }
  }

  /** Processor time of the server, in µs. */
  async function used() {
    if (!redis) return 0
    const text = await redis.info('cpu')
    return ['used_cpu_sys', 'used_cpu_user'].reduce(
      (sum, field) => sum + Number(new RegExp(`${field}:(.*)`).exec(text)[1]) * 1e6,
      0,
    )
  }
}
