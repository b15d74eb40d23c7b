import { faults } from './fault.ts'

export const transactionFaults = faults('transactions', {
  'sends outside of the transaction': (engine) => ({
    send: (queue, messages) => engine.send(queue, messages, null),
  }),
  'settles outside of the transaction': (engine) => ({
    settle: (queue, settlements) => engine.settle(queue, settlements),
  }),
  'carries out the work without a transaction': (engine) => ({
    transaction: async (work) => {
      await work({ query: () => Promise.resolve({ rows: [] }) })
      return await engine.transaction(work)
    },
  }),
  'refuses after it has sent': (engine) => ({
    send: async (queue, messages, tx) => {
      const results = await engine.send(queue, messages, null)
      return tx === null ? results : await engine.send(queue, messages, tx)
    },
  }),
})
