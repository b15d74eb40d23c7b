// A log that several readers follow, each at its own pace; one reads it again after a mistake: node examples/topics.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')
const hired = bus.topic('hired', { retention: { maxAge: '30d' } })
await hired.publish({ name: 'Ada' })
await hired.publish({ name: 'Grace' })

let wrong = true
const payroll = (message) => {
  const again = message.redelivered ? ' again' : ''
  console.log(`payroll${again}: ${message.data.name} gets ${wrong ? 'nothing' : 'a salary'}`)
}

// One consumer of a subscription is active, in whatever process. It handles the messages in their order.
await hired.subscribe('payroll', payroll, { from: 'earliest' }).drain()

// A subscription keeps its place: this run finds only what is new.
await hired.publish({ name: 'Edsger' })
await hired.subscribe('payroll', payroll).drain()

// Nobody has to publish anything again.
wrong = false
await hired.subscription('payroll').rollBack(3)
await hired.subscribe('payroll', payroll).drain()

// Many workers at a time: a queue that is bound gets what the topic takes from now on.
await bus.queue('accounts').create()
await hired.bind('accounts')
await hired.publish({ name: 'Barbara' })
await bus
  .queue('accounts')
  .work(({ data }) => console.log(`account: ${data.name}`))
  .drain()

// A look at the log by a subscription that leaves nothing behind.
const names = []
for await (const { data } of hired.consume('look', { from: 'earliest', ephemeral: true, untilEmpty: 1, wait: 0 }))
  names.push(data.name)
console.log(`log: ${names.join(', ')}`)
for (const { subscription, cursor, lag } of await hired.subscriptions())
  console.log(`${subscription}: read up to ${cursor}, ${lag} to come`)
await bus.close()

// Prints:
// payroll: Ada gets nothing
// payroll: Grace gets nothing
// payroll: Edsger gets nothing
// payroll: Ada gets a salary
// payroll: Grace gets a salary
// payroll: Edsger gets a salary
// account: Barbara
// log: Ada, Grace, Edsger, Barbara
// payroll: read up to 3, 1 to come
