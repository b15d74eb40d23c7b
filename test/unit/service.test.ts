import assert from 'node:assert/strict'
import { Service } from 'tidings/internal/core/service'
import { describe, test } from 'vitest'

/** Notes what it is asked for; starting and stopping last until the test says so. */
class Example extends Service {
  readonly calls: string[] = []
  starting = Promise.resolve()
  stopping = Promise.resolve()

  protected override async onStart(): Promise<void> {
    this.calls.push('start')
    await this.starting
  }

  protected override async onStop(): Promise<void> {
    this.calls.push('stop')
    await this.stopping
  }
}

function latch() {
  let open = () => {}
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

describe('a service', () => {
  test('starts once and stops once, however often it is asked', async () => {
    const service = new Example()
    assert.equal(service.state, 'new')
    await Promise.all([service.start(), service.start()])
    await service.start()
    assert.equal(service.state, 'running')
    const stopping = [service.stop(), service.stop()]
    assert.equal(service.state, 'stopping')
    await Promise.all(stopping)
    await service.stop()
    assert.equal(service.state, 'stopped')
    assert.deepEqual(service.calls, ['start', 'stop'])
  })

  test('waits for its start before it stops', async () => {
    const service = new Example()
    const { promise, open } = latch()
    service.starting = promise
    const started = service.start()
    const stopped = service.stop()
    assert.deepEqual(service.calls, ['start'])
    open()
    await Promise.all([started, stopped])
    assert.deepEqual(service.calls, ['start', 'stop'])
  })

  test('a second stop waits for the first', async () => {
    const service = new Example()
    await service.start()
    const { promise, open } = latch()
    service.stopping = promise
    void service.stop()
    let second = false
    const stopped = service.stop().then(() => {
      second = true
    })
    await new Promise(setImmediate)
    assert.equal(second, false)
    open()
    await stopped
  })

  test('that was never started can be stopped, and stays stopped', async () => {
    const service = new Example()
    await service.stop()
    await service.start()
    assert.equal(service.state, 'stopped')
    assert.deepEqual(service.calls, [])
  })

  test('that was stopped does not start again', async () => {
    const service = new Example()
    await service.start()
    await service.stop()
    await service.start()
    assert.equal(service.state, 'stopped')
    assert.deepEqual(service.calls, ['start', 'stop'])
  })

  test('that could not start can be stopped, and says why to everybody who starts it', async () => {
    const service = new Example()
    service.starting = Promise.reject(new Error('boom'))
    await assert.rejects(service.start(), /boom/)
    await assert.rejects(service.start(), /boom/)
    await service.stop()
    assert.equal(service.state, 'stopped')
    assert.deepEqual(service.calls, ['start', 'stop'])
  })

  test('that could not stop counts as stopped, and says why', async () => {
    const service = new Example()
    await service.start()
    service.stopping = Promise.reject(new Error('boom'))
    await assert.rejects(service.stop(), /boom/)
    await assert.rejects(service.stop(), /boom/)
    assert.equal(service.state, 'stopped')
  })

  test('stops at the end of its block', async () => {
    const service = new Example()
    {
      await using running = service
      await running.start()
    }
    assert.equal(service.state, 'stopped')
  })
})
