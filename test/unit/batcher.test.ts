import assert from 'node:assert/strict'
import fc from 'fast-check'
import { TidingsError } from 'tidings/internal/core/errors'
import { Batcher } from 'tidings/internal/messages/batcher'
import { describe, test } from 'vitest'

/** A storage that answers when it is told to. */
class Storage {
  readonly batches: number[][] = []
  readonly #answers: { answer: () => void; fail: (error: Error) => void }[] = []
  underWay = 0
  mostUnderWay = 0

  readonly send = (items: number[]): Promise<string[]> => {
    this.batches.push(items)
    this.underWay++
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay)
    return new Promise<string[]>((resolve, reject) => {
      this.#answers.push({ answer: () => resolve(items.map((item) => `done ${item}`)), fail: reject })
    }).finally(() => {
      this.underWay--
    })
  }

  answer(): void {
    this.#answers.shift()?.answer()
  }

  fail(error: Error): void {
    this.#answers.shift()?.fail(error)
  }
}

const upTo = (items: number, bytes = Number.POSITIVE_INFINITY) => ({ limits: { items, bytes } })

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Answers until nothing is left. */
async function answerAll(storage: Storage, promises: Promise<unknown>[]): Promise<void> {
  let open = promises.length
  for (const promise of promises) void promise.finally(() => open--).catch(() => {})
  while (open > 0) {
    storage.answer()
    await turn()
  }
}

describe('a batcher', () => {
  test('sends what was added in one tick together, and answers each with its own result', async () => {
    const storage = new Storage()
    const batcher = new Batcher(storage.send, upTo(10))
    const results = [batcher.add(1), batcher.add(2), batcher.add(3)]
    assert.deepEqual(storage.batches, [], 'nothing goes out before the end of the tick')
    await turn()
    assert.deepEqual(storage.batches, [[1, 2, 3]])
    storage.answer()
    assert.deepEqual(await Promise.all(results), ['done 1', 'done 2', 'done 3'])
  })

  test('also what is added in microtasks of the tick', async () => {
    const storage = new Storage()
    const batcher = new Batcher(storage.send, upTo(10))
    void batcher.add(1)
    await Promise.resolve()
    void batcher.add(2)
    await turn()
    assert.deepEqual(storage.batches, [[1, 2]])
  })

  test('collects while a batch is under way, so that there is one at a time', async () => {
    const storage = new Storage()
    const batcher = new Batcher(storage.send, upTo(10))
    const first = batcher.add(1)
    await turn()
    const rest = [batcher.add(2)]
    await turn()
    rest.push(batcher.add(3))
    await turn()
    assert.deepEqual(storage.batches, [[1]])
    storage.answer()
    await first
    await turn()
    assert.deepEqual(storage.batches, [[1], [2, 3]])
    storage.answer()
    assert.deepEqual(await Promise.all(rest), ['done 2', 'done 3'])
  })

  test('a failure reaches everybody in the batch and nobody in the next', async () => {
    const storage = new Storage()
    const batcher = new Batcher(storage.send, upTo(2))
    const results = Promise.allSettled([1, 2, 3].map((item) => batcher.add(item)))
    await turn()
    storage.fail(new Error('boom'))
    await turn()
    await turn()
    storage.answer()
    assert.deepEqual(
      (await results).map((result) => (result.status === 'fulfilled' ? result.value : String(result.reason))),
      ['Error: boom', 'Error: boom', 'done 3'],
    )
  })

  test('a send that throws is a failure like any other', async () => {
    const batcher = new Batcher<number, number>(() => {
      throw new Error('boom')
    }, upTo(2))
    await assert.rejects(batcher.add(1), /boom/)
    await assert.rejects(batcher.add(1), /boom/)
  })

  test('bounds a batch by size, though one item may be larger', async () => {
    const storage = new Storage()
    const batcher = new Batcher(storage.send, upTo(100, 10), (size) => size)
    const results = [5, 5, 1, 9, 50, 1, 1].map((size) => batcher.add(size))
    await answerAll(storage, results)
    assert.deepEqual(storage.batches, [[5, 5], [1, 9], [50], [1, 1]])
  })

  test('keeps the order, loses nothing and sends one batch at a time, whatever is added when', async () => {
    const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom('answer', 'turn')), {
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 12 }), async (script, maxBytes) => {
        const storage = new Storage()
        const batcher = new Batcher(storage.send, upTo(40, maxBytes), (item) => (item % 5) + 1)
        const results: Promise<string>[] = []
        for (const step of script) {
          if (step === 'answer') storage.answer()
          else if (step === 'turn') await turn()
          else for (let count = 0; count < Number(step); count++) results.push(batcher.add(results.length))
        }
        await answerAll(storage, results)
        assert.deepEqual(
          await Promise.all(results),
          results.map((_, index) => `done ${index}`),
        )
        assert.deepEqual(
          storage.batches.flat(),
          results.map((_, index) => index),
        )
        assert(storage.mostUnderWay <= 1)
      }),
      { numRuns: 50 },
    )
  })

  test('what the storage refuses in a batch fails alone, and the others keep their order', async () => {
    const stored: number[] = []
    let calls = 0
    const send = async (items: number[]) => {
      calls++
      if (items.includes(13)) throw new TidingsError('STORAGE_FAILED', 'no', { details: { refused: true } })
      stored.push(...items)
      return items
    }
    const batcher = new Batcher(send, upTo(100))
    const outcomes = await Promise.allSettled(Array.from({ length: 64 }, (_, item) => batcher.add(item)))
    assert.deepEqual(
      outcomes.flatMap(({ status }, item) => (status === 'rejected' ? [item] : [])),
      [13],
    )
    assert.deepEqual(
      stored,
      Array.from({ length: 64 }, (_, item) => item).filter((item) => item !== 13),
    )
    assert.equal(calls, 13, 'two calls a halving')
  })

  test('a batch whose outcome is not known is not sent again', async () => {
    let calls = 0
    const batcher = new Batcher(async (_items: number[]): Promise<number[]> => {
      calls++
      throw new TidingsError('OUTCOME_UNKNOWN', 'gone')
    }, upTo(100))
    const outcomes = await Promise.allSettled([batcher.add(1), batcher.add(2)])
    assert.deepEqual([calls, ...outcomes.map(({ status }) => status)], [1, 'rejected', 'rejected'])
  })
})
