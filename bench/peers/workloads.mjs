// What is measured. A workload runs once for a contender on a stage (run.mjs), and returns what it took; who loses or
// doubles a message gets a void result.
import { setTimeout as sleep } from 'node:timers/promises'

/** Before the measured time: until all processes have been told, and for a while of the same work. */
const warmMs = 300
/** A queue that a calibration finds out how fast it is emptied. */
const calibration = 3_000

const now = () => performance.timeOrigin + performance.now()
const size = 100
/** What does not differ by how often Redis waits for its disk. */
const notEverysec = ({ server }) => server !== 'everysec'

const moments = (stage, ms, processes = 1, earlierMs = warmMs) => {
  const startAt = now() + earlierMs + processes * 50
  return { startAt, endAt: startAt + (stage.warming ? 200 : ms), serverPid: stage.server.pid }
}

/** One figure of the processes that took part: what was counted, in what time, by how much CPU. */
function sum(results, counted = results) {
  const startedAt = Math.min(...results.map((result) => result.startedAt))
  const endedAt = Math.max(...counted.map((result) => result.endedAt))
  const count = counted.reduce((total, result) => total + result.count, 0)
  const ofProcess = new Map(results.map(({ pid, cpu }) => [pid, cpu]))
  const client = [...ofProcess.values()].reduce((total, cpu) => total + cpu, 0)
  const from = results.find((result) => result.startedAt === startedAt).server[0]
  const to = results.reduce((last, result) => (result.endedAt > last.endedAt ? result : last)).server[1]
  return {
    rate: (count / (endedAt - startedAt)) * 1_000,
    client: count ? client / count : null,
    server: count && from !== null ? (to - from) / count : null,
  }
}

const voided = (reason) => ({ void: reason })

/** What is left, when it is what is expected or after a while: some workers have stopped before their last job is. */
async function remainingOf(process, queue, expected) {
  for (let attempt = 1; ; attempt++) {
    const remaining = await process.call('count', { queue })
    if (remaining === expected || attempt === 10) return remaining
    await sleep(100)
  }
}

/**
 * @param open how many messages may be there although they were handled
 * @returns why a run does not count, or null
 */
function verdict({ sent, handled, remaining, disordered = 0, open = 0 }) {
  const unique = new Set(handled).size
  if (unique < handled.length) return `${handled.length - unique} handled twice`
  const tooMany = unique + remaining - sent
  if (tooMany < 0 || tooMany > open) return `${sent} sent, ${unique} handled, ${remaining} left`
  if (disordered) return `${disordered} out of order`
  return null
}

const percentiles = (latencies) => ({ latencies: Float64Array.from(latencies) })

function sending(name, { way, inFlight, batch = 1, processes = 1, ms = 600, bytes = size, rounds, only }) {
  return {
    name,
    kind: 'send',
    rounds,
    only,
    async run(stage) {
      const [first, ...others] = await stage.open(processes, processes > 1 ? stage.peer.crowded : {})
      const queue = stage.newName()
      await first.call('create', { queue })
      const when = moments(stage, ms, processes)
      const results = await Promise.all(
        [first, ...others].map((process, at) =>
          process.call('send', { to: queue, way, inFlight, batch, size: bytes, from: at * 10_000_000, ...when }),
        ),
      )
      const sent = results.reduce((total, result) => total + result.sent, 0)
      const remaining = await first.call('count', { queue })
      await first.call('clear', { queue })
      const reason = verdict({ sent, handled: [], remaining })
      return reason ? voided(reason) : sum(results)
    },
  }
}

/**
 * Processes what lies in a queue. How much that is follows from how fast the contender was before, so that it lasts.
 * @param more.options of the worker, instead of those of the contender
 * @param more.inOrder by what the peer has for that: one message after the other, in the order of sending
 */
function processing(name, more) {
  const { options, processes = 1, ms = 700, bytes = size, depth = 0, inOrder = false, prepare, only, rounds } = more
  return {
    name,
    kind: 'work',
    only,
    rounds,
    variants: more.variants,
    async run(stage) {
      const crowd = processes > 4 ? stage.peer.crowded : {}
      const all = await stage.open(processes, crowd)
      const [first] = all
      const slow = stage.isSlow
      const queue = stage.newName()
      const { strict = {} } = stage.peer
      const keys = inOrder ? (strict.keys ?? 0) : (more.keys ?? 0)
      const workOptions = inOrder ? strict.options : options ? options(stage.peer) : stage.contender.options
      await first.call('create', { queue, ordered: keys > 0 })
      const others = (await prepare?.(stage, first, queue)) ?? 0
      const wanted = Math.round(stage.perMs(name) * 1.6 * processes * (ms + warmMs))
      const count = Math.max(depth, Math.min(200_000, Math.max(calibration, wanted)))
      await first.call('fill', { queue, count, size: bytes, keys, inFlight: inOrder || keys ? 1 : 4 })
      const when = moments(stage, slow(name) ? Math.max(ms, 4_000) : ms, processes)
      const results = await Promise.all(
        all.map((process) =>
          process.call('work', {
            queue,
            options: { ...workOptions, ...crowd },
            keys: inOrder ? 1 : keys,
            ...(processes === 1 ? { expected: count } : {}),
            ...when,
          }),
        ),
      )
      const handled = results.flatMap(({ ids }) => [...ids])
      const remaining = await remainingOf(first, queue, count + others - handled.length)
      await first.call('clear', { queue })
      stage.learn(name, results.reduce((total, { perMs }) => total + perMs, 0) / processes)
      const disordered = results.reduce((total, result) => total + result.disordered, 0)
      const reason = verdict({
        sent: count + others,
        handled,
        remaining,
        disordered,
        open: processes * (stage.peer.leavesOpen ?? 0),
      })
      if (reason) return voided(reason)
      if (results.some(({ tooShort }) => tooShort)) return { again: true }
      // Of several that find nothing more, the time of the last message counts.
      const drained = remaining === others
      for (const result of results) if (drained) result.endedAt = Math.max(result.startedAt + 1, result.lastAt)
      return sum(results)
    },
  }
}

/** Sends and processes at once; in one process, or the worker in one of its own. */
function flowing(
  name,
  { way = 'one', inFlight = 1, pace = null, apart, ms, earlierMs, bytes = size, prepare, only, variants, rounds },
) {
  return {
    name,
    kind: 'flow',
    only,
    variants,
    rounds,
    async run(stage) {
      const [worker, sender = worker] = await stage.open(apart ? 2 : 1)
      const queue = stage.newName()
      await worker.call('create', { queue })
      const release = await prepare?.(stage, worker, queue)
      const when = moments(stage, stage.long ? 60_000 : ms, 1, earlierMs)
      const options = { ...stage.contender.options, ...(way === 'awaited' ? stage.peer.awaiting : {}) }
      const [worked, sent] = await Promise.all([
        worker.call('work', { queue, options, ...when }),
        sender.call('send', { to: queue, way, inFlight, pace, size: bytes, ...when }),
      ])
      await release?.()
      const remaining = await remainingOf(worker, queue, sent.sent - worked.ids.length)
      await worker.call('clear', { queue })
      const reason = verdict({
        sent: sent.sent,
        handled: [...worked.ids],
        remaining,
        open: stage.peer.leavesOpen,
      })
      if (reason) return voided(reason)
      return { ...sum([worked, sent], [worked]), ...percentiles(worked.latencies) }
    },
  }
}

const fanOut = {
  name: 'fan-out to 20 queues',
  kind: 'send',
  rounds: 2,
  only: notEverysec,
  async run(stage) {
    const [first] = await stage.open(1)
    const queues = Array.from({ length: 20 }, () => stage.newName())
    for (const queue of queues) await first.call('create', { queue })
    await first.call('bind', { queues })
    const sent = await first.call('send', { to: queues, way: 'fan', inFlight: 1, size, ...moments(stage, 1_000) })
    let remaining = 0
    for (const queue of queues) remaining += await first.call('count', { queue })
    for (const queue of queues) await first.call('clear', { queue })
    const reason = verdict({ sent: sent.sent * 20, handled: [], remaining })
    return reason ? voided(reason) : sum([sent])
  },
}

/**
 * @param meanwhile whether the subscriptions read while there is publishing, on the same two cores. Otherwise they read after it,
 * as nobody reads where sends to a queue are measured.
 */
function publishing(name, processes, meanwhile) {
  return {
    name,
    kind: 'send',
    rounds: 2,
    only: (contender) => contender.key === 'tidings' && notEverysec(contender),
    async run(stage) {
      const [follower, ...publishers] = await stage.open(processes + 1)
      const topic = stage.newName()
      const subscriptions = ['one', 'two', 'three']
      await follower.call('createTopic', { topic, subscriptions })
      const follow = () => follower.call('follow', { topic, subscriptions })
      if (meanwhile) await follow()
      const when = moments(stage, 1_000, processes)
      const results = await Promise.all(
        publishers.map((publisher, at) =>
          publisher.call('send', { to: topic, way: 'publish', inFlight: 50, size, from: at * 10_000_000, ...when }),
        ),
      )
      const sent = results.reduce((total, result) => total + result.sent, 0)
      if (!meanwhile) await follow()
      const seen = await follower.call('followed', { expected: sent })
      await follower.call('clearTopic', { topic })
      const wrong = seen.find((count) => count !== sent)
      return wrong === undefined ? sum(results) : voided(`${sent} published, ${wrong} followed`)
    },
  }
}

const countedMs = 60_000

/** Workers in one process that have nothing to do. */
function idling(queueCount, ms) {
  return {
    name: `idle: a process with ${queueCount} queues`,
    kind: 'flow',
    rounds: 1,
    // BullMQ on PostgreSQL has a pool for each queue and each worker, more than the server has connections.
    only: (contender) =>
      !isRaw(contender) && !['pgmq-js:postgres', 'bullmq:postgres'].includes(contender.id) && notEverysec(contender),
    variants: ['default', 'only'],
    async run(stage) {
      const [first] = await stage.open(1)
      const queues = Array.from({ length: queueCount }, () => stage.newName())
      await first.call('startIdle', { queues, options: stage.contender.options })
      // Not before all have begun to wait: a thousand take their time.
      await sleep(15_000)
      const look = async () => ({
        at: now(),
        server: stage.server.cpu(),
        client: await first.call('usage'),
      })
      const before = await look()
      await sleep(stage.long ? 30_000 : ms)
      const after = await look()
      // Some of what they do comes once a minute. Counting takes time of a Redis itself.
      const statements = await stage.server.statementsIn(countedMs)
      await first.call('stopIdle', { queues })
      const seconds = (after.at - before.at) / 1_000
      const client = after.client.user + after.client.system - before.client.user - before.client.system
      return {
        statements: statements / (countedMs / 1_000),
        clientMs: client / 1_000 / seconds,
        serverMs: after.server === null ? null : (after.server - before.server) / 1_000 / seconds,
      }
    },
  }
}

/** What a message leaves behind: write-ahead log, dead rows, space. */
const traces = {
  name: 'traces of a message on PostgreSQL',
  kind: 'work',
  only: ({ server }) => server === 'postgres',
  variants: ['best', 'only'],
  rounds: 1,
  async run(stage) {
    const [first] = await stage.open(1)
    const queue = stage.newName()
    await first.call('create', { queue })
    const count = 10_000
    const before = await stage.server.traces()
    await first.call('fill', { queue, count, size })
    const when = { startAt: now(), endAt: now() + 60_000, serverPid: stage.server.pid }
    const options = stage.contender.options
    const worked = await first.call('work', { queue, options, expected: count, ...when })
    const after = await stage.server.traces()
    const remaining = await first.call('count', { queue })
    await first.call('clear', { queue })
    const reason = verdict({ sent: count, handled: [...worked.ids], remaining, open: stage.peer.leavesOpen })
    if (reason) return voided(reason)
    return {
      walBytes: (after.wal - before.wal) / count,
      deadRows: (after.dead - before.dead) / count,
      bytesLeft: (after.size - before.size) / count,
    }
  },
}

const delay = (count) => async (_stage, process, queue) => {
  await process.call('fill', { queue, count, size, delayMs: 3_600_000, from: 100_000_000 })
  return count
}
const delayByAnother = (count) => async (stage, _process, queue) => {
  await stage.server.query(
    `INSERT INTO pgmq.q_${queue} (vt, message) SELECT now() + interval '1 h', '{"id": 0}' FROM generate_series(1, ${count})`,
  )
  return count
}
const lease = (count) => async (_stage, process, queue) => {
  await process.call('fill', { queue, count, size, from: 100_000_000 })
  await process.call('lease', { queue, count })
  return count
}
const isRaw = ({ key }) => key.startsWith('raw')
const onPgmq = ({ key, server }) => server === 'postgres' && ['tidings', 'pgmq-js'].includes(key)
const canLease = (contender) => ['tidings', 'pgmq-js'].includes(contender.key) && notEverysec(contender)
const hasDelays = (contender) => contender.key !== 'raw-redis' && notEverysec(contender)
const hasKeys = (contender) =>
  ['tidings', 'pg-boss', 'graphile-worker'].includes(contender.key) && notEverysec(contender)
const best = ['best', 'only']
/** With its concurrency set, all else by default; a contender has no two ways for that. */
const at = (concurrency) => ({ options: (peer) => peer.at(concurrency), variants: ['default', 'only'] })
/** What is told by few runs, and by one of the two settings of Redis. */
const few = { rounds: 2, only: notEverysec }
const rare = { rounds: 1, only: notEverysec }

export const workloads = [
  sending('send, 1 in flight', { way: 'one', inFlight: 1 }),
  sending('send, 50 in flight', { way: 'one', inFlight: 50 }),
  sending('send in bulk of 100, 4 in flight', { way: 'many', inFlight: 4, batch: 100 }),
  sending('send in bulk of 1,000, 4 in flight', { way: 'many', inFlight: 4, batch: 1_000, ...few }),
  processing('process, defaults', { variants: ['default', 'only'] }),
  processing('process, best settings', { variants: best }),
  processing('process in strict order', { inOrder: true, variants: ['default', 'only'], only: notEverysec }),
  processing('process, concurrency 1', { ...at(1), ...few }),
  processing('process, concurrency 10', { ...at(10), ...few }),
  processing('process, concurrency 100', { ...at(100), ...few }),
  processing('process, 1,000 ordering keys', { keys: 1_000, variants: best, rounds: 2, only: hasKeys }),
  processing('process, one ordering key', { keys: 1, variants: best, rounds: 1, only: hasKeys }),
  flowing('send and process at once, two processes', {
    inFlight: 50,
    apart: true,
    ms: 1_500,
    variants: best,
    only: notEverysec,
  }),
  flowing('latency, 50 messages a second', {
    way: 'awaited',
    pace: { everyMs: 20, count: 1 },
    ms: 2_000,
    variants: best,
    only: notEverysec,
  }),
  flowing('latency, 10,000 messages a second', {
    pace: { everyMs: 5, count: 50 },
    apart: true,
    ms: 3_000,
    // What gathers while both processes start is gone by then: a second at this rate.
    earlierMs: 3_000,
    only: (contender) => ['tidings', 'bullmq'].includes(contender.key) && notEverysec(contender),
    variants: ['default', 'only'],
    rounds: 2,
  }),
  sending('send, 50 in flight in each of 4 processes', { way: 'one', inFlight: 50, processes: 4, ...few }),
  processing('process in 4 processes', { processes: 4, variants: best, ...few }),
  processing('process in 16 processes', { processes: 16, variants: best, ...rare }),
  fanOut,
  publishing('publish to a topic with 3 subscriptions, 1 process', 1, false),
  publishing('publish to a topic with 3 subscriptions, 4 processes', 4, false),
  publishing('publish to a topic while 3 subscriptions read it, 4 processes', 4, true),
  processing('process, 100,000 waiting', { depth: 100_000, variants: best, ...rare }),
  processing('process behind 100,000 delayed', {
    prepare: delay(100_000),
    variants: best,
    rounds: 1,
    only: hasDelays,
  }),
  processing('process behind 100,000 delayed by another client', {
    prepare: delayByAnother(100_000),
    variants: best,
    only: onPgmq,
    rounds: 1,
  }),
  processing('process behind 100,000 leased', { prepare: lease(100_000), variants: best, only: canLease, rounds: 1 }),
  flowing('send and process while a snapshot is held', {
    inFlight: 50,
    apart: true,
    ms: 4_000,
    prepare: (stage) => stage.server.holdSnapshot(),
    only: ({ server }) => server === 'postgres',
    variants: best,
    rounds: 1,
  }),
  flowing('send and process bodies of 10 kB', { inFlight: 10, bytes: 10_000, ms: 1_000, variants: best, ...few }),
  flowing('send and process bodies of 1 MB', { inFlight: 4, bytes: 1_000_000, ms: 2_000, variants: best, ...rare }),
  traces,
  idling(100, 20_000),
]

/** With --long only. */
export const longWorkloads = [
  processing('process, 1,000,000 waiting', { depth: 1_000_000, variants: best, ...rare }),
  processing('process behind 1,000,000 delayed', {
    prepare: delay(1_000_000),
    variants: best,
    rounds: 1,
    only: hasDelays,
  }),
  processing('process behind 1,000,000 delayed by another client', {
    prepare: delayByAnother(1_000_000),
    variants: best,
    only: onPgmq,
    rounds: 1,
  }),
  processing('process behind 1,000,000 leased', {
    prepare: lease(1_000_000),
    variants: best,
    only: canLease,
    rounds: 1,
  }),
  idling(1_000, 20_000),
]
