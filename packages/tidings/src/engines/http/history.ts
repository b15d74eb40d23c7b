import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { HistoryRange, HistoryStore, StoredHistory } from '../../port/history.ts'
import { fromWireHistory, historyQuery, type WireHistory } from '../../protocol/history.ts'
import type { Client } from './client.ts'

/** History over HTTP. The server writes it, also of what its clients do. */
export class HttpHistory implements HistoryStore {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async read(queue: string | null, range: HistoryRange): Promise<StoredHistory> {
    const path = queue === null ? '/v1/history' : `/v1/queues/${encodeURIComponent(queue)}/history`
    try {
      const options = { repeatable: true } as const
      return fromWireHistory(
        await this.#client.request<WireHistory>('GET', `${path}?${historyQuery(range)}`, undefined, options),
      )
    } catch (error) {
      if (!isTidingsError(error, 'ROUTE_NOT_FOUND')) throw error
      throw new TidingsError('UNSUPPORTED', 'the server is of a version that keeps no history', {
        cause: error,
        hint: 'Update the server.',
      })
    }
  }
}
