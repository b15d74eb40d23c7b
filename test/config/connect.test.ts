import { connect } from 'tidings'
import { expect, test } from 'vitest'

test('options of queues hold wherever a queue is asked for, and give way to what is said there', async () => {
  await using bus = await connect('memory:', { queues: { small: { maxMessageBytes: 5, deadLetter: 'letters' } } })
  const tooLarge = { code: 'BODY_TOO_LARGE' }
  await expect(bus.queue('small').send('too large')).rejects.toMatchObject(tooLarge)
  await expect(bus.queue('small', { maxMessageBytes: undefined }).send('too large')).rejects.toMatchObject(tooLarge)
  await bus.queue('small', { maxMessageBytes: 50 }).send('too large')
  await bus.queue('constructor').send('too large')
  expect(bus.queue('small').deadLetterQueue).toBe('letters')
})

test('a circle of dead-letter queues is found when one of them is asked for', async () => {
  await using bus = await connect('memory:', { queues: { a: { deadLetter: 'b' }, b: { deadLetter: 'a' } } })
  expect(() => bus.queue('a')).toThrow('the dead-letter queues form a circle: a → b → a')
})

test.each<[queues: unknown, code: string]>([
  ['orders', 'TYPE'],
  [[], 'TYPE'],
  [{ Orders: {} }, 'QUEUE_NAME_INVALID'],
  [{ orders: { maxMessageBytes: 'x' } }, 'TYPE'],
  [{ orders: { concurrency: 1 } }, 'OPTION_UNKNOWN'],
])('%j is refused', async (queues, code) => {
  await expect(connect('memory:', { queues } as object)).rejects.toMatchObject({ code })
})

test('an URL that is undefined is refused, whatever else is given: it does not mean the local PostgreSQL', async () => {
  const refused = { code: 'URL_INVALID', hint: expect.stringContaining('connect()') }
  await expect(connect(process.env.NO_SUCH_VARIABLE)).rejects.toMatchObject(refused)
  await expect(connect(undefined, { queues: {} })).rejects.toMatchObject(refused)
})
