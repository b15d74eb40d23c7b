import { faults } from './fault.ts'

export const transactionFaults = faults('transactions', {
  'sends outside of the transaction': (engine) => ({
    send: (queue, messages) => engine.send(queue, messages, null),
  }),
  'refuses after it has sent': (engine) => ({
    send: async (queue, messages, tx) => {
      const results = await engine.send(queue, messages, null)
      return tx === null ? results : await engine.send(queue, messages, tx)
    },
  }),
})
