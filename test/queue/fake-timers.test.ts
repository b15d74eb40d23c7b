import { memoryBus } from 'tidings/testing'
import { afterEach, expect, test, vi } from 'vitest'

afterEach(() => void vi.useRealTimers())

test('with the fake timers of vitest a bus sends, reads, works and closes', async () => {
  vi.useFakeTimers()
  const bus = memoryBus()
  const jobs = bus.queue<number>('jobs')
  await Promise.all([jobs.send(1), jobs.send(2)])
  const [message] = await jobs.read()
  await message?.delete()
  const handled: number[] = []
  const worker = jobs.work(({ data }) => void handled.push(data), { maxMessages: 2 })
  await jobs.send(3, { delay: '1h' })
  await vi.advanceTimersByTimeAsync(3_600_000)
  await worker.finished
  expect(handled).toEqual([2, 3])
  await bus.close()
})
