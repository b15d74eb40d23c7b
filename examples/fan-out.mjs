// An event that four teams have to act on, and one message when all of them are done: node examples/fan-out.mjs
import { connect } from 'tidings'

const bus = await connect('memory:')

const teams = ['accounts', 'badges', 'laptops', 'payroll']
for (const team of teams) {
  await bus.queue(team).create()
  await bus.bind('employee.hired', team)
}

// Each copy is a task of the correlation. A task may send more of them before it ends: a laptop comes by parcel.
await bus.publish(
  'employee.hired',
  { name: 'Ada' },
  { meta: { correlationId: 'hired-17', correlationQueue: 'onboarded' }, track: true },
)

const handlers = Object.fromEntries(teams.map((team) => [team, () => {}]))
handlers.laptops = ({ meta }) => bus.queue('parcels').send({ to: 'Ada' }, { meta, track: true })
handlers.parcels = () => {}

async function show() {
  const { pending, done, completedAt } = await bus.correlation('hired-17')
  console.log(`${pending} pending, ${done} done, ${completedAt ? 'completed' : 'not completed'}`)
}

await show()
for (const [queue, handler] of Object.entries(handlers)) {
  await bus.queue(queue).work(handler).drain()
  if (queue === 'payroll') await show()
}
await show()

const [told] = await bus.queue('onboarded').read()
const { correlationId, done, dead } = told.data
console.log(`told once: ${correlationId}, ${done} done, ${dead} dead`)
await told.delete()
await bus.close()

// Prints:
// 4 pending, 0 done, not completed
// 1 pending, 4 done, not completed
// 0 pending, 5 done, completed
// told once: hired-17, 5 done, 0 dead
