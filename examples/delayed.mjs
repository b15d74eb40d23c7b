// Messages for later: node examples/delayed.mjs
import { connect, snooze } from 'tidings'

const bus = await connect('memory:')
const reminders = bus.queue('reminders')

const startedAt = Date.now()
await reminders.send({ text: 'in a moment' }, { delay: '500ms' })
await reminders.send({ text: 'a moment later' }, { at: new Date(startedAt + 1_000) })
await reminders.send({ text: 'now' })

// A message that waits can still be cancelled.
const id = await reminders.send({ text: 'never' }, { delay: '1h' })
console.log(`removed: ${(await reminders.cancel(id)).removed.length}`)

const seconds = () => ((Date.now() - startedAt) / 1000).toFixed(1)
let asked = false
const worker = reminders.work(
  ({ data }) => {
    if (data.text === 'now' && !asked) {
      asked = true
      console.log('now? not yet')
      return snooze('100ms') // It comes back then; this is no attempt.
    }
    console.log(data.text)
    console.error(`after ${seconds()} s`)
  },
  { maxMessages: 4 },
)
await worker.finished
await bus.close()

// Prints:
// removed: 1
// now? not yet
// now
// in a moment
// a moment later
