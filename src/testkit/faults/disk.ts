import type { NewMessage } from '../../engine.ts'
import { TidingsError } from '../../errors.ts'
import type { Plant } from '../memory-harness.ts'
import { all, faults, sending } from './fault.ts'

const anywhere = ({ durability: _durability, ...message }: NewMessage): NewMessage => message
const asks = (messages: readonly NewMessage[]) => messages.some(({ durability }) => durability === 'fsync')

/** Stores some of a batch before it refuses it. */
const storing =
  (choose: (message: NewMessage) => boolean): Plant =>
  (engine) => ({
    send: async (queue, messages, tx, limits) => {
      if (asks(messages)) await engine.send(queue, messages.filter(choose).map(anywhere), tx)
      return engine.send(queue, messages, tx, limits)
    },
  })

const withoutDisk = faults('disk', {
  'promises a disk that it does not have': sending(anywhere),
  'stores what it refuses': storing(() => true),
  'stores the rest of a batch that it refuses': storing(({ durability }) => durability === undefined),
  'takes back what it refuses, but not its dedup id': (engine) => ({
    send: async (queue, messages, tx, limits) => {
      if (asks(messages)) {
        await engine.send(queue, messages.map(anywhere), tx)
        await engine.pop(queue, all.limit)
      }
      return engine.send(queue, messages, tx, limits)
    },
  }),
  'calls it unsupported': (engine) => ({
    send: async (queue, messages, tx, limits) => {
      if (asks(messages)) throw new TidingsError('UNSUPPORTED', 'no disk')
      return engine.send(queue, messages, tx, limits)
    },
  }),
})

const withDisk = faults('durability', {
  'forgets dedup ids and delays over the disk': sending((message) =>
    message.durability === 'fsync' ? { ...message, dedup: null, delayMs: 0 } : message,
  ),
})

export const diskFaults = [...withoutDisk, ...withDisk]
