// Messages of several versions, one handler; and the past sent again: node examples/versions.mjs
import { connect, versions } from 'tidings'

const bus = await connect('memory:')
const hires = bus.queue('hires')
const hiredAs = (version) => ({ meta: { version, targetId: 'person-7' } })
await hires.send({ name: 'Ada Lovelace' }, hiredAs('1'))
await hires.send({ first: 'Grace', last: 'Hopper' }, hiredAs('2'))
await hires.send({ names: ['Alan', 'Turing'], email: 'alan@example.com' }, hiredAs('3'))
await hires.send({ who: 'from the future' }, hiredAs('4'))

const handler = versions({
  handlers: {
    // Knows only the newest version; whatever is older has been converted when it comes here.
    3: ({ data, meta }) => console.log(`hired ${data.names.join(' ')}, sent as version ${meta.version}`),
  },
  upcasters: {
    1: ({ name }) => {
      const [first, last] = name.split(' ')
      return { first, last }
    },
    2: ({ first, last }) => ({ names: [first, last], email: null }),
  },
})
await hires.work(handler, { concurrency: 1, onSuccess: 'archive' }).drain()
for (const { meta } of await hires.deadLetters.list()) console.log(`dead: ${meta.errorMessage}`)

// Time travel: what was archived, sent again; a second time it is known to have been sent.
const where = { data: { name: 'Ada Lovelace' } }
for (const time of ['first', 'second']) {
  const [replayed] = await hires.replay({ where })
  console.log(`${time} replay: message ${replayed.id}, duplicate: ${replayed.duplicate}`)
}
await hires.work(handler).drain()

for (const { kind, queue, id } of await bus.trace('person-7', { queues: ['hires_dlq'] }))
  console.log(`${kind} ${queue} ${id}`)
await bus.close()

// Prints:
// hired Ada Lovelace, sent as version 1
// hired Grace Hopper, sent as version 2
// hired Alan Turing, sent as version 3
// dead: message 4 has version "4"; the handler knows "1", "2", "3"
// first replay: message 5, duplicate: false
// second replay: message 5, duplicate: true
// hired Ada Lovelace, sent as version 1
// sent hires 4
// deadLettered hires_dlq 1
// waiting hires_dlq 1
