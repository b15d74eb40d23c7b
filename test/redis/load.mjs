// A process that sends, claims and settles until the server is gone, and says before and after each step which. Arguments:
// URL, a name of its own, queue, where some messages are moved to.
import { RedisEngine } from 'tidings/internal/engines/redis/redis'

const [url, name, queue, other] = process.argv.slice(2)
const engine = new RedisEngine(url)
await engine.open()
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const message = {
  meta: {},
  headers: {},
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

async function send(sender) {
  for (let count = 0; ; count++) {
    const keys = [0, 1, 2].map((index) => `${name}/${sender}/${count}/${index}`)
    tell({ step: 'sending', keys })
    const batch = keys.map((key, index) => ({ ...message, data: JSON.stringify(key), delayMs: index === 2 ? 5 : 0 }))
    await engine.send(queue, batch, null)
    tell({ step: 'sent', keys })
  }
}

const endings = [
  { kind: 'delete' },
  { kind: 'archive', meta: {} },
  { kind: 'move', to: other, delayMs: 0, meta: {} },
  { kind: 'release', delayMs: 0, meta: { again: true }, uncount: false },
]

async function settle() {
  for (let count = 0; ; count++) {
    const ending = endings[count % endings.length]
    const { messages } = await engine.claim(queue, { limit: 2, leaseMs: 60_000, ids: null })
    const keys = messages.map(({ data }) => JSON.parse(data))
    tell({ step: 'settling', kind: ending.kind, keys })
    await engine.settle(
      queue,
      messages.map(({ id, receipt }) => ({ id, receipt, ...ending })),
    )
    tell({ step: 'settled', kind: ending.kind, keys })
  }
}

await Promise.allSettled([send(0), send(1), settle(), settle()])
