import { Bus } from 'tidings/internal/bus/bus'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { MaintainRequest } from 'tidings/internal/port/engine'
import { expect, test } from 'vitest'

class CountingEngine extends MemoryEngine {
  maintained = 0
  failing = false

  override async maintain(request: MaintainRequest): Promise<number> {
    this.maintained++
    if (this.failing) throw new Error('the storage is away')
    return super.maintain(request)
  }
}

async function newBus() {
  const clock = new FakeClock(0)
  const engine = new CountingEngine({ clock })
  await engine.open()
  return { clock, engine, bus: new Bus(engine, { clock }) }
}

test('the storage is looked after while there are workers, and only then', async () => {
  const { clock, engine, bus } = await newBus()
  await bus.queue('jobs').send(1)
  await clock.advance(60_000)
  expect(engine.maintained).toBe(0)

  const worker = bus.queue('jobs').work(() => {})
  const second = bus.queue('others').work(() => {})
  await clock.advance(5_000)
  expect(engine.maintained).toBe(1)
  await clock.advance(60_000)
  expect(engine.maintained).toBe(3)

  await Promise.all([worker.stop(), second.stop()])
  await clock.advance(60_000)
  expect(engine.maintained).toBe(3)
  expect(clock.pending).toBe(0)

  bus.queue('jobs').work(() => {})
  await clock.advance(5_000)
  expect(engine.maintained).toBe(4)
  await bus.close()
  expect(clock.pending).toBe(0)
})

test('upkeep that fails is tried again', async () => {
  const { clock, engine, bus } = await newBus()
  engine.failing = true
  bus.queue('jobs').work(() => {})
  await clock.advance(65_000)
  expect(engine.maintained).toBe(3)
  await bus.close()
})
