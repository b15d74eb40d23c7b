import { TidingsError } from 'tidings/internal/core/errors'
import type { Engine, NewMessage } from 'tidings/internal/port/engine'
import type { Plant } from '../memory-harness.ts'
import { all, faults } from './fault.ts'

/** Does something to a batch that has to be on disk, before the engine is asked. */
const before =
  (work: (engine: Engine, queue: string, messages: readonly NewMessage[]) => Promise<unknown>): Plant =>
  (engine) => ({
    send: async (queue, messages, tx, terms) => {
      if (terms?.durability === 'fsync') await work(engine, queue, messages)
      return engine.send(queue, messages, tx, terms)
    },
  })

const withoutDisk = faults('disk', {
  'promises a disk that it does not have': (engine) => ({
    send: (queue, messages, tx, { maxLength } = {}) => engine.send(queue, messages, tx, { maxLength }),
  }),
  'stores what it refuses': before((engine, queue, messages) => engine.send(queue, messages, null)),
  'stores the first of a batch that it refuses': before((engine, queue, messages) =>
    engine.send(queue, messages.slice(0, 1), null),
  ),
  'takes back what it refuses, but not its dedup id': before(async (engine, queue, messages) => {
    await engine.send(queue, messages, null)
    await engine.pop(queue, all.limit)
  }),
  'calls it unsupported': before(() => Promise.reject(new TidingsError('UNSUPPORTED', 'no disk'))),
})

const withDisk = faults('durability', {
  'forgets dedup ids and delays over the disk': (engine) => ({
    send: (queue, messages, tx, terms) => {
      const plain = messages.map((message) => ({ ...message, dedup: null, delayMs: 0 }))
      return engine.send(queue, terms?.durability === 'fsync' ? plain : messages, tx, terms)
    },
  }),
})

export const diskFaults = [...withoutDisk, ...withDisk]
