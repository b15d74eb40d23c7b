// A process that claims messages, holds them by its life, and does nothing more. Arguments: URL, queue; so many times its
// event loop is blocked for 3 seconds, with one turn in between.
import { setImmediate as turn } from 'node:timers/promises'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'

const [url, queue, blocks = 0] = process.argv.slice(2)
const engine = new RedisEngine(url)
await engine.open()
const ignored = () => {}
const listening = await engine.listen({ woken: ignored, lost: ignored, notified: ignored })
await listening.listen(['life'])
const { messages } = await engine.claim(queue, { limit: 4, leaseMs: 60_000, ids: null, held: true, ahead: 2 })
console.log(JSON.stringify({ held: messages.length }))
for (let left = Number(blocks); left > 0; left--) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
  await turn()
}
console.log(JSON.stringify({ blocked: Number(blocks) }))
setInterval(ignored, 60_000)
