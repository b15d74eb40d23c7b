import { randomBytes } from 'node:crypto'
import type { Engine, NewMessage, StoredMessage } from 'tidings/internal/port/engine'

export const newName = (start: string) => `${start}_${randomBytes(4).toString('hex')}`

export function message(fields: Partial<NewMessage> = {}): NewMessage {
  return {
    data: '{"name":"Ada"}',
    meta: {},
    headers: {},
    delayMs: 0,
    notBefore: null,
    priority: 0,
    orderingKey: null,
    dedup: null,
    uniqueTarget: null,
    bare: false,
    ...fields,
  }
}

export const claimAll = async (engine: Engine, queue: string, limit = 100): Promise<StoredMessage[]> =>
  (await engine.claim(queue, { limit, leaseMs: 30_000, ids: null })).messages

/** All messages of a queue but the archive. */
export const peekAll = (engine: Engine, queue: string): Promise<StoredMessage[]> =>
  engine.peek(queue, { place: null, limit: 100_000, afterId: null, ids: null })
