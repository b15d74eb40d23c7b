// A process of an application: does what the run asks of it, and says what that took. Started by processes.mjs.
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuOfTree } from './cpu.mjs'
import { loadPeer } from './peers.mjs'

/** The same in all processes of a machine. */
const now = () => performance.timeOrigin + performance.now()
let client

/** @param at when it is to be sent, which is later where the storage lags */
const bodyOf = (id, size, at = now()) => {
  const data = { id, at, pad: '' }
  data.pad = 'x'.repeat(Math.max(0, size - JSON.stringify(data).length))
  return data
}

/** Counts between two moments, and takes the CPU time used by then. */
class Meter {
  count = 0
  #serverPid
  #ended = Promise.withResolvers()
  #timers

  constructor({ startAt, endAt, serverPid }) {
    this.#serverPid = serverPid
    this.#timers = [
      setTimeout(() => this.#start(), Math.max(0, startAt - now())),
      setTimeout(() => this.end(), Math.max(1, endAt - now())),
    ]
  }

  #start() {
    this.started = this.#look()
    this.count = 0
  }

  #look() {
    return { at: now(), cpu: process.cpuUsage(), server: cpuOfTree(this.#serverPid) }
  }

  get running() {
    return this.started !== undefined && this.ended === undefined
  }

  add(count = 1) {
    if (this.ended === undefined) this.count += count
  }

  end() {
    if (this.ended) return
    for (const timer of this.#timers) clearTimeout(timer)
    this.ended = this.#look()
    this.#ended.resolve()
  }

  whenEnded() {
    return this.#ended.promise
  }

  result() {
    const { started, ended, count } = this
    if (!started) return { count: 0, tooShort: true }
    const used = ended.cpu.user + ended.cpu.system - started.cpu.user - started.cpu.system
    return { count, startedAt: started.at, endedAt: ended.at, cpu: used, server: [started.server, ended.server] }
  }
}

/** How a workload puts its messages in, by its name. */
const ways = {
  one: (queue) => (message) => client.send(queue, message),
  awaited: (queue) => (message) => (client.sendAwaited ?? client.send)(queue, message),
  fan: (queues) => (message) => client.fan(queues, message),
  publish: (topic) => (message) => client.publish(topic, message),
}

const calls = {
  async setUp({ peer: key, url }) {
    await (await loadPeer(key)).setUp(url)
  },

  async open({ peer: key, url, options }) {
    const peer = await loadPeer(key)
    client = await peer.open(url, options)
  },

  async close() {
    await client.close()
    client = undefined
  },

  create: async ({ queue, ordered = false }) => void (await client.create(queue, { ordered })),
  clear: async ({ queue }) => void (await client.clear(queue)),
  count: async ({ queue }) => client.count(queue),
  lease: ({ queue, count }) => client.lease(queue, count),
  bind: ({ queues }) => client.bind(queues),
  createTopic: ({ topic, subscriptions }) => client.createTopic(topic, subscriptions),
  clearTopic: async ({ topic }) => void (await client.clearTopic(topic)),

  /** Stores `count` messages in batches; in their order with one in flight. */
  async fill({ queue, count, size, keys = 0, delayMs = 0, from = 0, inFlight = 4 }) {
    const batch = Math.max(1, Math.min(1_000, Math.floor(4_000_000 / size)))
    let next = 0
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        while (next < count) {
          const first = next
          next = Math.min(count, next + batch)
          const messages = Array.from({ length: next - first }, (_, at) => ({
            data: bodyOf(from + first + at, size),
            ...(keys ? { key: `key${(first + at) % keys}` } : {}),
            ...(delayMs ? { delayMs } : {}),
          }))
          await client.sendMany(queue, messages)
        }
      }),
    )
  },

  /** Sends for a while, `inFlight` at a time, or `pace.count` every `pace.everyMs`. */
  async send({ to, way, inFlight = 1, batch = 1, size, from = 0, pace = null, ...moments }) {
    const meter = new Meter(moments)
    let next = from
    let sent = 0
    const message = (at) => ({ data: bodyOf(next++, size, at) })
    const sendMany = () =>
      client.sendMany(
        to,
        Array.from({ length: batch }, () => message()),
      )
    const sendOne = way === 'many' ? null : ways[way](to)
    const counted = async (at) => {
      await (sendOne ? sendOne(message(at)) : sendMany())
      sent += batch
      meter.add(batch)
    }
    if (pace) await paced(counted, pace, meter)
    else
      await Promise.all(
        Array.from({ length: inFlight }, async () => {
          while (!meter.ended) await counted()
        }),
      )
    return { ...meter.result(), sent, pid: process.pid }
  },

  /** Processes until the end, or until `expected` messages were handled. */
  async work({ queue, options, expected = Number.POSITIVE_INFINITY, keys = 0, ...moments }) {
    const meter = new Meter(moments)
    const ids = []
    const latencies = []
    const lastOfKey = new Map()
    let lastAt = now()
    let disordered = 0
    const handle = ({ id, at }) => {
      ids.push(id)
      lastAt = now()
      if (meter.running) latencies.push(lastAt - at)
      meter.add()
      if (keys) {
        if (id < (lastOfKey.get(id % keys) ?? 0)) disordered += 1
        lastOfKey.set(id % keys, id)
      }
      if (ids.length === expected) meter.end()
    }
    const startedAt = now()
    const worker = client.work(queue, handle, options)
    await meter.whenEnded()
    // One that waits between its messages is as slow as that; of several nobody knows when there were no more.
    const until = ids.length < expected && expected < Number.POSITIVE_INFINITY ? now() : lastAt
    await worker.stop()
    return {
      ...meter.result(),
      ids,
      latencies,
      disordered,
      lastAt,
      pid: process.pid,
      perMs: ids.length / (until - startedAt),
    }
  },

  /** Follows a topic by its subscriptions until each has had `expected` messages: the run says how many that are. */
  async follow({ topic, subscriptions }) {
    follower = { counts: new Map(subscriptions.map((name) => [name, new Set()])), check: () => {} }
    follower.subscribers = subscriptions.map((name) =>
      client.follow(topic, name, ({ id }) => {
        follower.counts.get(name).add(id)
        follower.check()
      }),
    )
  },

  async followed({ expected }) {
    const { counts, subscribers } = follower
    await new Promise((resolve) => {
      follower.check = () => [...counts.values()].every(({ size }) => size >= expected) && resolve()
      follower.check()
    })
    await Promise.all(subscribers.map((subscriber) => subscriber.stop()))
    return [...counts.values()].map(({ size }) => size)
  },

  /** Workers on many queues that stay empty. */
  async startIdle({ queues, options }) {
    for (const queue of queues) await client.create(queue, {})
    idle = client.workMany
      ? [client.workMany(queues, () => {}, options)]
      : queues.map((queue) => client.work(queue, () => {}, options))
  },

  async stopIdle({ queues }) {
    await Promise.all(idle.map((worker) => worker.stop()))
    for (const queue of queues) await client.clear(queue)
  },

  usage: async () => process.cpuUsage(),
}
let follower
let idle

/** Does not wait for answers, as those who send do not wait for one another; of a storage that lags, 2,000 at most. */
async function paced(send, { everyMs, count }, meter) {
  const inFlight = new Set()
  for (let due = now(); !meter.ended; due += everyMs) {
    await sleep(Math.max(0, due - now()))
    for (let at = 0; at < count && !meter.ended; at++) {
      while (inFlight.size >= 2_000) await Promise.race(inFlight)
      const sending = send(due).finally(() => inFlight.delete(sending))
      inFlight.add(sending)
    }
  }
  await Promise.all(inFlight)
}

process.on('message', async ({ number, call, args }) => {
  const answer = await (async () => calls[call](args))().then(
    (result) => ({ result: result ?? null }),
    (error) => ({ error: error?.stack ?? String(error) }),
  )
  // To a run that has ended nothing can be said.
  if (process.connected) process.send({ number, ...answer }, undefined, undefined, () => {})
})
process.on('disconnect', () => process.exit())
