// An event that four teams have to act on, and a message when one fails and when all are done: node examples/fan-out.mjs
import { connect, deadLetter } from 'tidings'

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
  { meta: { correlationId: 'hired-17', correlationQueue: 'onboarded' }, track: true, tell: ['anyFailed', 'allDone'] },
)

const handlers = Object.fromEntries(teams.map((team) => [team, () => {}]))
handlers.laptops = ({ meta }) => bus.queue('parcels').send({ to: 'Ada' }, { meta, track: true })
handlers.parcels = () => {}
handlers.badges = () => deadLetter('no photograph')

async function show() {
  const { pending, done, dead } = await bus.correlation('hired-17')
  console.log(`${pending} pending, ${done} done, ${dead} dead`)
}

/** What was told since: each milestone is told once. */
async function told() {
  for (const { data } of await bus.queue('onboarded').pop({ limit: 10 }))
    console.log(`told: ${data.milestone} of ${data.correlationId}, ${data.done} done, ${data.dead} dead`)
}

await show()
for (const [queue, handler] of Object.entries(handlers)) await bus.queue(queue).work(handler).drain()
await show()
await told()

// Somebody brings the photograph.
const badges = bus.queue('badges')
await badges.deadLetters.redrive()
await badges.work(() => {}).drain()
await show()
await told()
await bus.close()

// Prints:
// 4 pending, 0 done, 0 dead
// 0 pending, 4 done, 1 dead
// told: anyFailed of hired-17, 1 done, 1 dead
// 0 pending, 5 done, 0 dead
// told: allDone of hired-17, 5 done, 0 dead
