import assert from 'node:assert/strict'
import { connect } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Operation, Outcome } from 'tidings/internal/port/telemetry'
import { onTestFinished, test } from 'vitest'

async function observed() {
  const bus = await connect('memory:')
  onTestFinished(() => bus.close())
  const told: { operation: Operation; outcome: Outcome | null }[] = []
  const end = bus.telemetry.observe((operation) => {
    const one: (typeof told)[number] = { operation, outcome: null }
    told.push(one)
    return (outcome) => {
      one.outcome = outcome
    }
  })
  const take = () => told.splice(0).map(({ operation, outcome }) => ({ ...operation, ...outcome }))
  return { bus, told, take, end }
}

test('every call of a bus is told with its name, its destination and what came of it', async () => {
  const { bus, take } = await observed()
  const queue = bus.queue('orders')
  await queue.create()
  assert.deepEqual(
    take().map(({ name, type, destination, error }) => ({ name, type, destination, error })),
    [{ name: 'createQueue', type: 'manage', destination: 'orders', error: undefined }],
  )
  await bus.bind('Orders.*', queue)
  take()
  await queue.sendBatch([{ data: 1, dedupId: 'a' }, { data: 2 }, { data: 3, dedupId: 'a' }])
  await bus.publish('Orders.Paid', 4)
  const [message] = await queue.read({ limit: 2 })
  await message!.delete()
  const short = take().map(({ name, type, destination, count, stored }) => [
    name,
    type,
    destination,
    count,
    [...stored!],
  ])
  assert.deepEqual(short, [
    ['send', 'send', 'orders', 2, [['orders', 2]]],
    ['publish', 'send', null, 1, [['orders', 1]]],
    ['receive', 'receive', 'orders', 2, []],
    ['settle', 'settle', 'orders', 1, []],
  ])
})

test('topics are told of, too', async () => {
  const { bus, take } = await observed()
  const topic = bus.topic('news')
  await topic.create()
  take()
  await topic.publish(1)
  await topic.read()
  assert.deepEqual(
    take().map(({ name, type, destination, count }) => [name, type, destination, count]),
    [
      ['publish', 'send', 'news', 1],
      ['receive', 'receive', 'news', 1],
    ],
  )
})

test('a failure is told, and is the one that the caller gets', async () => {
  const { bus, take } = await observed()
  const failed = await bus.engine.pop('missing', 1).catch((error: unknown) => error)
  const [{ name, error, count, durationMs } = assert.fail('nothing was told')] = take()
  assert.deepEqual([name, error, count], ['pop', failed, 0])
  assert(durationMs! >= 0)
})

test('a call is told when it begins, before it has ended', async () => {
  const { bus, told } = await observed()
  const creating = bus.engine.createQueue('orders')
  assert.deepEqual(
    told.map(({ operation, outcome }) => [operation.name, outcome]),
    [['createQueue', null]],
  )
  await creating
})

test('who has ended observing is told of nothing more', async () => {
  const { bus, told, end } = await observed()
  end()
  await bus.queue('orders').create()
  assert.deepEqual(told, [])
})

test('an observer that fails changes nothing, and is reported', async () => {
  const { bus } = await observed()
  const warnings: Error[] = []
  const note = (warning: Error) => warnings.push(warning)
  process.on('warning', note)
  onTestFinished(() => void process.off('warning', note))
  bus.telemetry.observe(() => {
    throw new Error('at the beginning')
  })
  bus.telemetry.observe(() => () => {
    throw new Error('at the end')
  })
  assert.equal(await bus.engine.createQueue('orders'), true)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(warnings.map(({ message }) => message).sort(), ['at the beginning', 'at the end'])
})

test('the engine that is observed is the same one, from its opening on', async () => {
  const engine = new MemoryEngine()
  const bus = new Bus(engine)
  onTestFinished(() => bus.close())
  assert.deepEqual(
    [bus.engine.name, bus.engine.supports, bus.engine.limits],
    [engine.name, engine.supports, engine.limits],
  )
  assert.equal(bus.engine.topics, bus.engine.topics, 'one for all calls')
  await bus.engine.topics!.createTopic('news', {})
  assert.equal((await engine.topics.listTopics('news')).length, 1)
})
