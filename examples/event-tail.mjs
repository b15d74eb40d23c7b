// What queues announce, as it happens: DATABASE_URL=postgres://… node examples/event-tail.mjs
import pg from 'pg'
import { connect, eventsMigration } from 'tidings'

const database = new pg.Client(process.env.DATABASE_URL)
await database.connect()
const bus = await connect(process.env.DATABASE_URL)

// An application has this SQL among its migrations: tidings generate-migration
const { up, down } = await eventsMigration()
await database.query(up)

const events = bus.events({ namespace: 'orders' })
await events.start()

const orders = bus.queue('worker_orders_queue')
await orders.create()
await orders.send({ order: 7 }, { delay: '1s' }) // Announced when it is due.
await orders.send({ order: 8 })
await orders.sendBatch([{ data: { order: 9 } }, { data: { order: 10 } }]) // One event.
await orders.send({ order: 11, scan: 'é'.repeat(4_000) }) // 8,000 bytes are too many for an event.
await bus.queue('hires').send({ name: 'Ada' }) // Of another namespace.

/** An event is only a signal, whatever it carries: who claims the message by its id has it, and nobody else. */
async function handle(event) {
  for (const id of event.ids ?? [event.id]) {
    const message = await orders.readById(id)
    if (message === null) continue // Somebody else was faster.
    console.log(`  handled order ${message.data.order}`)
    await message.delete()
  }
}

let ready = 0
for await (const event of events) {
  console.log(`${event.type} from ${event.queue}`)
  if (event.type === 'queue_created') continue
  await handle(event)
  if (++ready === 4) break
}

const { received, dropped, health } = events.stats()
console.log({ received, dropped, health })
for (const name of ['worker_orders_queue', 'hires']) await bus.queue(name).drop()
await bus.close()
await database.query(down)
await database.end()

// Prints:
// queue_created from worker_orders_queue
// message_with_payload from worker_orders_queue
//   handled order 8
// batch_ready from worker_orders_queue
//   handled order 9
//   handled order 10
// message_ready from worker_orders_queue
//   handled order 11
// message_with_payload from worker_orders_queue
//   handled order 7
// { received: 5, dropped: 0, health: 'healthy' }
