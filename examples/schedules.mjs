// A schedule sends each of its times once, however many processes are there: node examples/schedules.mjs
import { setTimeout as wait } from 'node:timers/promises'
import { connect } from 'tidings'

const first = await connect(process.env.DATABASE_URL)
const second = await connect(process.env.DATABASE_URL)
for (const name of ['ticks', 'reports']) await first.queue(name).create()

// When a clock in Berlin shows 2 at night, also where the clocks are changed.
const nightly = { cron: '30 2 * * *', timezone: 'Europe/Berlin', startAt: '2027-03-27', limit: 3 }
await first.schedule('nightly', { ...nightly, queue: 'reports', data: { report: 'daily' } })
for (const time of await first.schedules.next('nightly', 5)) console.log('nightly at', time.toISOString())

// Two processes with workers; both send what is due, each time once.
const seen = []
const handler = ({ meta }) => void seen.push(Date.parse(meta.scheduledFor))
const workers = [first.queue('ticks').work(handler), second.queue('ticks').work(handler)]
await first.schedule('tick', { every: '1s', limit: 3, queue: 'ticks' })
while (seen.length < 3) await wait(50)
await Promise.all(workers.map((worker) => worker.stop()))
seen.sort()
console.log('ticks, in seconds from the first:', seen.map((time) => (time - seen[0]) / 1_000).join(' '))

await first.schedules.runNow('nightly')
const [report] = await first.queue('reports').pop()
console.log('now:', report.data, 'of', report.meta.schedule)

// What a service declares no more goes; that of others stays.
await first.schedules.declare('billing', { invoices: { cron: '@monthly', queue: 'reports' } })
await first.schedules.declare('billing', {})
console.log('left:', (await first.schedules.list()).map(({ name }) => name).join(', '))

await first
  .schedule('typo', { cron: '0 0 30 2 *', queue: 'reports' })
  .catch(({ code }) => console.log('30 February:', code))
await Promise.all([first.close(), second.close()])

// Prints:
// nightly at 2027-03-27T01:30:00.000Z
// nightly at 2027-03-28T01:00:00.000Z
// nightly at 2027-03-29T00:30:00.000Z
// ticks, in seconds from the first: 0 1 2
// now: { report: 'daily' } of nightly
// left: nightly, tick
// 30 February: SCHEDULE_NEVER
