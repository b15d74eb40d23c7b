// A process that claims messages, held, and keeps them until it is killed. Arguments: URL, queue, limit, ahead, topic or ''.
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'

const [url, queue, limit, ahead, topic] = process.argv.slice(2)
const engine = new PostgresEngine({ url })
await engine.open()
const ignored = () => {}
const listener = { woken: ignored, notified: ignored, lost: ignored, announcing: ignored, troubled: ignored }
const listening = await engine.listen({ ...listener, polling: ignored })
await listening.listen(['life'])
const request = { limit: Number(limit), ahead: Number(ahead), leaseMs: 60_000, ids: null, held: true }
const { messages } = await engine.claim(queue, request)
if (topic) await engine.topics.hold(topic, 's', 'killed', 60_000, true)
process.stdout.write(`${messages.length}\n`)
