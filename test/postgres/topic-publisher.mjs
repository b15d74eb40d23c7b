// A process that appends numbered messages to a topic, in batches, and prints the last number of each that was
// acknowledged. Arguments: URL, topic, name of the publisher, how many messages (0: until it is killed), how many at once.
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'

const [url, topic, name, total, size] = process.argv.slice(2)
const engine = new PostgresEngine({ url })
await engine.open()
const common = { meta: {}, headers: {}, delayMs: 0, notBefore: null, priority: 0, orderingKey: null }
const message = (number) => ({
  ...common,
  data: JSON.stringify(`${name}/${number}`),
  dedup: null,
  uniqueTarget: null,
  bare: false,
})

for (let last = 0; total === '0' || last < Number(total); ) {
  const batch = Array.from({ length: Number(size) }, () => message(++last))
  await engine.topics.append(topic, batch, null)
  process.stdout.write(`${last}\n`)
}
await engine.close()
