import type { QueueSettingsChange } from 'tidings'
import { isTidingsError } from 'tidings/internal/core/errors'
import { describe, expect, test, vi } from 'vitest'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'

/** The code of the refusal; null: it was done. */
async function codeOf(call: Promise<unknown>): Promise<string | null> {
  try {
    await call
    return null
  } catch (error) {
    if (isTidingsError(error)) return error.code
    throw error
  }
}

const hourMs = 3_600_000

describe.each(storages)('what one process stores for a queue, on $name', (storage) => {
  /** Two connections, as two processes would have them, and a queue that the first has configured. */
  async function scene(settings: QueueSettingsChange, atEnd: Parameters<typeof openBus>[1]) {
    const url = await storage.url()
    const [own, other] = [await openBus(url, atEnd), await openBus(url, atEnd)]
    const name = newName('stored')
    await own.queue(name).create()
    atEnd?.(async () => void (await own.queue(name).drop()))
    await own.queue(name).configure(settings)
    return { name, own: own.queue<string>(name), bus: other, other: other.queue<string>(name) }
  }

  test('holds for messages that others send, where they do not say it themselves', async ({ onTestFinished }) => {
    const { other } = await scene({ delay: '1h', ttl: '2h' }, onTestFinished)
    // Both of one tick, before anything is known of the queue.
    const [first, second] = await Promise.all([other.send('first'), other.send('second', { delay: 0, ttl: '3h' })])
    const [third, fourth] = (
      await other.sendBatch([{ data: 'third' }, { data: 'fourth', delay: '2h', ttl: '4h' }])
    ).map(({ id }) => id)
    const found = new Map((await other.peek()).map((one) => [one.id, one]))
    const timesOf = (id: string | undefined) => {
      const { visibleAt, sentAt, meta } = found.get(id ?? '')!
      return [Math.round((visibleAt.getTime() - sentAt.getTime()) / hourMs), meta.ttlMs]
    }
    expect([first, second, third, fourth].map(timesOf)).toEqual([
      [1, 2 * hourMs],
      [0, 3 * hourMs],
      [1, 2 * hourMs],
      [2, 4 * hourMs],
    ])
    // As with a ttl of the queue in code.
    expect(await codeOf(other.send('fifth', { delay: '2h' }))).toBe('OPTION_CONFLICT')
  })

  test('limits others, who can only be stricter', async ({ onTestFinished }) => {
    const { name, own, bus, other } = await scene({ maxLength: 2, maxMessageBytes: 10 }, onTestFinished)
    expect(await codeOf(other.send('x'.repeat(9)))).toBe('BODY_TOO_LARGE')
    expect(await codeOf(other.sendBatch([{ data: 'x' }, { data: 'x'.repeat(9) }]))).toBe('BODY_TOO_LARGE')
    const looser = bus.queue<string>(name, { maxLength: 100, maxMessageBytes: 1_000 })
    const stricter = bus.queue<string>(name, { maxLength: 1, maxMessageBytes: 5 })
    expect(await codeOf(looser.send('x'.repeat(9)))).toBe('BODY_TOO_LARGE')
    expect(await codeOf(stricter.send('x'.repeat(4)))).toBe('BODY_TOO_LARGE')
    await stricter.send('x')
    expect(await codeOf(stricter.send('y'))).toBe('QUEUE_FULL')
    await looser.send('x'.repeat(8))
    expect(await codeOf(looser.send('z'))).toBe('QUEUE_FULL')
    expect(await codeOf(other.sendBatch([{ data: 'z' }]))).toBe('QUEUE_FULL')
    expect((await own.stats()).ready).toBe(2)
  })

  test('lets larger data through than Tidings would by itself', async ({ onTestFinished }) => {
    const { other } = await scene({ maxMessageBytes: 3_000_000 }, onTestFinished)
    const large = 'x'.repeat(1_500_000)
    // A server has a limit of its own.
    const answer = storage.name.startsWith('HTTP') ? 'BODY_TOO_LARGE' : null
    expect(await codeOf(other.send(large))).toBe(answer)
    expect(await codeOf(other.sendBatch([{ data: large }]))).toBe(answer)
  })

  test('holds for readers and workers, where they do not say it themselves', async ({ onTestFinished }) => {
    const dead = newName('failed')
    const { own, other } = await scene({ lease: '1h', maxAttempts: 2, backoff: 0, deadLetter: dead }, onTestFinished)
    onTestFinished(async () => void (await own.deadLetters.redrive().then(() => own.purge())))
    await own.sendBatch([{ data: 'first' }, { data: 'second' }])
    const [first] = await other.read()
    const [second] = await other.read({ lease: '2h' })
    const heldFor = (one: typeof first) => (one!.visibleAt.getTime() - one!.lastReadAt!.getTime()) / hourMs
    expect([first, second].map(heldFor).map(Math.round)).toEqual([1, 2])
    await first!.release()
    await second!.delete()

    const attempts: number[] = []
    const failing = other.work(
      (_, { attempt, maxAttempts }) => {
        attempts.push(attempt, maxAttempts)
        throw new Error('as it has to')
      },
      { maxMessages: 1 },
    )
    await failing.finished
    expect(attempts).toEqual([2, 2])
    expect(other.deadLetterQueue).toBe(dead)
    expect((await own.deadLetters.list()).map(({ data }) => data)).toEqual(['first'])
  })

  test('is heard of by those who used the queue before', async ({ onTestFinished }) => {
    const { own, other } = await scene({}, onTestFinished)
    await other.send('before')
    await own.configure({ maxLength: 1 })
    await vi.waitFor(async () => expect(await codeOf(other.send('after'))).toBe('QUEUE_FULL'), {
      timeout: 60_000,
      interval: 100,
    })
    // One that is made anew has none.
    await own.drop()
    await own.create()
    await own.send('first')
    await vi.waitFor(async () => expect(await codeOf(other.send('second'))).toBeNull(), {
      timeout: 60_000,
      interval: 100,
    })
  })

  test('is heard of by workers that run', async ({ onTestFinished }) => {
    const { own, other } = await scene({ maxAttempts: 5 }, onTestFinished)
    const seen: number[] = []
    const worker = other.work((_, { maxAttempts }) => void seen.push(maxAttempts))
    await own.send('before')
    await vi.waitFor(() => expect(seen).toEqual([5]), { timeout: 60_000 })
    await own.configure({ maxAttempts: 2 })
    await vi.waitFor(
      async () => {
        await own.send('after')
        expect(seen.at(-1)).toBe(2)
      },
      { timeout: 60_000, interval: 100 },
    )
    await worker.stop()
  })

  test('is refused as a whole', async ({ onTestFinished }) => {
    const { name, other } = await scene({ maxLength: 3 }, onTestFinished)
    expect(await codeOf(other.configure({ ttl: '1h', lease: 0 }))).toBe('LEASE_RANGE')
    expect(await codeOf(other.configure({ ttl: '1h', deadLetter: name }))).toBe('DEAD_LETTER_INVALID')
    expect(await other.settings()).toEqual({ maxLength: 3 })
  })
})

describe('settings that cannot be', () => {
  test.each([
    [{ lease: 0 }, 'LEASE_RANGE'],
    [{ delay: '4000d' }, 'DELAY_RANGE'],
    [{ delay: -1 }, 'DELAY_RANGE'],
    [{ ttl: 0 }, 'RANGE'],
    [{ maxLength: 0 }, 'RANGE'],
    [{ maxMessageBytes: 0 }, 'RANGE'],
    [{ maxAttempts: 0 }, 'RANGE'],
    [{ maxAttempts: '5' }, 'TYPE'],
    [{ backoff: { curve: 'cubic' } }, 'TYPE'],
    [{ backoff: { curve: 'linear', factor: 2 } }, 'OPTION_UNKNOWN'],
    [{ backoff: { first: '1s' } }, 'TYPE'],
    [{ backoff: () => 1 }, 'TYPE'],
    [{ deadLetter: 'Hires' }, 'QUEUE_NAME_INVALID'],
    [{ deadLetter: 'hires' }, 'DEAD_LETTER_INVALID'],
    [{ deadLetter: 'circle' }, 'DEAD_LETTER_INVALID'],
    [{ retention: {} }, 'TYPE'],
    [{ retention: { keepFor: 0 } }, 'RANGE'],
    [{ maxLenght: 5 }, 'OPTION_UNKNOWN'],
  ])('%j', async (change, code) => {
    await using bus = await openBus('memory:', () => {})
    await bus.queue('hires').create()
    await bus.queue('circle').create()
    await bus.queue('circle').configure({ deadLetter: 'hires', maxLength: 7 })
    expect(await codeOf(bus.queue('hires').configure(change as object))).toBe(code)
    expect(await bus.queue('hires').settings()).toEqual({})
    expect(await bus.queue('circle').settings()).toEqual({ deadLetter: 'hires', maxLength: 7 })
  })
})
