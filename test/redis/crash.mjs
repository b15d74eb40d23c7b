// A process that begins something, to be killed before it is done. Arguments: URL, what, then its arguments.
import { RedisEngine } from 'tidings/internal/engines/redis/redis'

const [url, what, ...args] = process.argv.slice(2)
const engine = new RedisEngine(url)
await engine.open()

const message = {
  data: '{"from":"the process"}',
  meta: {},
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

const begin = {
  publish: ([routingKey]) => engine.publish([{ ...message, routingKey }], null),
  publishOnce([routingKey, id, correlationId]) {
    const tracked = { correlationId, completionQueue: null }
    return engine.publish([{ ...message, dedup: { id, windowMs: 60_000 }, tracked, routingKey }], null)
  },
  async move([queue, to]) {
    const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null })
    const [{ id, receipt }] = messages
    await engine.settle(queue, [{ id, receipt, kind: 'move', to, delayMs: 0, meta: { moved: true } }])
  },
  async finish([queue]) {
    const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null })
    await engine.settle(
      queue,
      messages.map(({ id, receipt }) => ({ id, receipt, kind: 'delete' })),
    )
  },
}

await begin[what](args)
await engine.close()
