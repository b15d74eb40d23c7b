import type { Engine, Lease, SettleResult } from 'tidings/internal/port/engine'
import { all, endingAs, type Fault, faults, settling, withReceipts } from './fault.ts'

/** Gives out receipts of its own making, and finds the real one behind them. */
function disguised(engine: Engine, make: (queue: string, id: string, real: string) => string): Partial<Engine> {
  const real = new Map<string, string>()
  const disguise = (queue: string, id: string, receipt: string) => {
    const shown = make(queue, id, receipt)
    real.set(`${queue}/${id}/${shown}`, receipt)
    return shown
  }
  const reveal = <L extends Lease>(queue: string, lease: L): L => ({
    ...lease,
    receipt: real.get(`${queue}/${lease.id}/${lease.receipt}`) ?? lease.receipt,
  })
  return {
    claim: async (queue, request) => {
      const { messages, nextDueMs } = await engine.claim(queue, request)
      return {
        messages: messages.map((one) => ({ ...one, receipt: disguise(queue, one.id, one.receipt!) })),
        nextDueMs,
      }
    },
    settle: (queue, settlements) =>
      engine.settle(
        queue,
        settlements.map((one) => reveal(queue, one)),
      ),
    extend: async (queue, leases, leaseMs) => {
      const revealed = leases.map((lease) => reveal(queue, lease))
      const receipts = await engine.extend(queue, revealed, leaseMs)
      return receipts.map((receipt, index) => receipt && disguise(queue, leases[index]!.id, receipt))
    },
  }
}

/** Settles whatever receipt is shown, if `believes` it. */
function believing(believes: (shown: string, newest: string) => boolean): Fault['plant'] {
  return (engine, clock) => {
    const { newest, members } = withReceipts(engine)
    const believe = <L extends Lease>(queue: string, lease: L): L => {
      const receipt = newest(queue, lease.id)
      return believes(lease.receipt, receipt) ? { ...lease, receipt } : lease
    }
    return {
      ...members,
      ...settling((one, queue) => believe(queue, one))(engine, clock),
      extend: (queue, leases, leaseMs) =>
        members.extend!(
          queue,
          leases.map((lease) => believe(queue, lease)),
          leaseMs,
        ),
    }
  }
}

export const receiptFaults = faults('receipts', {
  'takes any receipt': believing(() => true),
  'takes an empty receipt': believing((shown) => shown === ''),
  'trims receipts': believing((shown, newest) => shown.trim() === newest),
  'takes a receipt that begins well': believing((shown, newest) => newest !== '' && shown.startsWith(newest)),
  'fails on a strange receipt': settling((one) => {
    if (!/^\w/.test(one.receipt)) throw new RangeError('not a receipt')
    return one
  }),
  'takes the number of the read for a receipt': (engine) => {
    const reads = new Map<string, number>()
    return disguised(engine, (queue, id) => {
      const read = (reads.get(queue + id) ?? 0) + 1
      reads.set(queue + id, read)
      return `${read}`
    })
  },
  'takes one receipt for all': (engine) => disguised(engine, () => 'receipt'),
  'takes the id for a receipt': (engine) => disguised(engine, (_queue, id) => id),
  'leaves the old receipt good when a lease is extended': (engine, clock) => {
    const heirs = new Map<string, string>()
    const heir = (receipt: string): string => {
      const next = heirs.get(receipt)
      return next === undefined ? receipt : heir(next)
    }
    return {
      ...settling((one) => ({ ...one, receipt: heir(one.receipt) }))(engine, clock),
      extend: async (queue, leases, leaseMs) => {
        const inherited = leases.map((lease) => ({ ...lease, receipt: heir(lease.receipt) }))
        const receipts = await engine.extend(queue, inherited, leaseMs)
        for (const [index, receipt] of receipts.entries())
          if (receipt !== null) heirs.set(inherited[index]!.receipt, receipt)
        return receipts
      },
    }
  },
  'leaves a receipt good when its message is given back': (engine) => {
    const released = new Set<string>()
    return {
      settle: async (queue, settlements) => {
        const results = await engine.settle(queue, settlements)
        for (const [index, { id, receipt, kind }] of settlements.entries()) {
          if (released.has(receipt) && (await engine.cancel(queue, [id]))[0])
            results[index] = { settled: true, newId: null }
          if (kind === 'release') released.add(receipt)
        }
        return results
      },
    }
  },
  'refuses a lease that ran out': (engine) => ({
    settle: async (queue, settlements) => {
      const leased = new Set((await engine.peek(queue, { ...all, place: 'leased' })).map((message) => message.id))
      const good = settlements.filter((one) => leased.has(one.id))
      const results = await engine.settle(queue, good)
      return settlements.map((one) => results[good.indexOf(one)] ?? { settled: false, newId: null })
    },
  }),
  'says yes to a lease that is gone': (engine) => ({
    settle: async (queue, settlements) => {
      const results = await engine.settle(queue, settlements)
      return results.map((result) => ({ ...result, settled: true }))
    },
  }),
  'answers for a message, not for a settlement': (engine) => ({
    settle: async (queue, settlements) => {
      const results = await engine.settle(queue, settlements)
      return settlements.map((one) => results[settlements.findIndex((other) => other.id === one.id)]!)
    },
  }),
  'spoils the batch by one stale receipt': (engine) => ({
    settle: async (queue, settlements) => {
      const live = await engine.peek(queue, all)
      const results: SettleResult[] = []
      for (const one of settlements) {
        const spoiled = results.some((result) => !result.settled) || !live.some((message) => message.id === one.id)
        results.push(spoiled ? { settled: false, newId: null } : (await engine.settle(queue, [one]))[0]!)
      }
      return results
    },
  }),
  'creates the queue of a stale move': endingAs('move', async (engine, queue, one) => {
    if (one.kind === 'move') await engine.createQueue(one.to)
    return (await engine.settle(queue, [one]))[0]!
  }),
  'writes meta before it looks at the receipt': endingAs('archive', async (engine, queue, one) => {
    const result = (await engine.settle(queue, [one]))[0]!
    if (!result.settled) await engine.cancel(queue, [one.id])
    if (!result.settled) await engine.purgeQueue(queue)
    return result
  }),
  'leaves a lease in hand over a purge': (engine) => {
    const purged = new Set<string>()
    return {
      purgeQueue: async (queue) => {
        for (const message of await engine.peek(queue, all)) purged.add(queue + message.id)
        return await engine.purgeQueue(queue)
      },
      extend: async (queue, leases, leaseMs) => {
        const receipts = await engine.extend(queue, leases, leaseMs)
        return receipts.map((receipt, index) => receipt ?? (purged.has(queue + leases[index]!.id) ? 'r' : null))
      },
    }
  },
})
