// Two consumers that share the messages of a topic, and what a third had in hand when it hung: node examples/shared-subscription.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')

// From now on the queue takes what the topic takes, in the same step. Each group of consumers has a queue of its own.
const news = bus.topic('news')
const payroll = bus.queue('news_payroll')
await payroll.create()
await news.bind(payroll)
for (let number = 1; number <= 6; number++) await news.publish({ number })

// A consumer takes two messages and does nothing more. Their lease ends, and the others have them.
const pending = await payroll.read({ limit: 2, lease: '200ms' })
console.log(`${pending.length} in the hands of a consumer that hangs`)

const handled = new Set()
const working = new Set()
const pause = () => new Promise((resolve) => setTimeout(resolve, 10))
function startConsumer(name) {
  payroll.work(
    async ({ data }) => {
      working.add(name)
      // Each keeps its first message until the other one has one, too.
      while (working.size < 2) await pause()
      handled.add(data.number)
    },
    { concurrency: 1, prefetch: 0 },
  )
}
startConsumer('one')
startConsumer('two')
while (handled.size < 6) await pause()
console.log(`${handled.size} handled by ${working.size} consumers`)
await bus.close()

// Prints:
// 2 in the hands of a consumer that hangs
// 6 handled by 2 consumers
