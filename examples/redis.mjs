// Queues, routing and a topic on Redis or Valkey: REDIS_URL=redis://… node examples/redis.mjs
import { connect } from 'tidings'

// Without a URL a Redis that is installed on this machine, in memory. Only the URL differs from other storages.
const bus = await connect(process.env.REDIS_URL ?? 'redis+local:')
const mails = bus.queue('example_mails')
const news = bus.topic('example_news')
await mails.create()
await news.create()

// What is published goes into the queue and the topic: on one server in one step, on a Cluster one after the other.
await bus.bind('Person.*.Hired', mails)
await bus.bind('Person.#', news)
await bus.publish('Person.7.Hired', { name: 'Ada' }, { dedupId: 'hired-7' })
const again = await bus.publish('Person.7.Hired', { name: 'Ada' }, { dedupId: 'hired-7' })
console.log(`duplicates: ${again.filter(({ duplicate }) => duplicate).length}`)
await bus.publish('Person.7.Promoted', { name: 'Ada' })

// A worker is woken by Redis; a message that fails is tried again, and one that fails too often is a dead letter.
const worker = mails.work(
  ({ data }, { attempt }) => {
    console.log(`mail to ${data.name}, attempt ${attempt}`)
    if (attempt === 1) throw new Error('the mail server is busy')
  },
  { backoff: '50ms', maxMessages: 2 },
)
await worker.finished

for await (const { offset, meta } of news.consume('archive', { from: 'earliest', untilEmpty: 1, wait: 0 }))
  console.log(`topic: ${offset} ${meta.routingKey}`)

await mails.drop()
await news.drop()
await bus.close()

// Prints:
// duplicates: 2
// mail to Ada, attempt 1
// mail to Ada, attempt 2
// topic: 1 Person.7.Hired
// topic: 2 Person.7.Promoted
