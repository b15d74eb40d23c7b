import { Pgmq } from 'tidings/pgmq'
import { migratedDatabase, newName } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'

/** A client on a database of its own. */
export interface OwnPgmq {
  readonly url: string
  readonly pgmq: Pgmq
  /** Creates a queue, and gives its name. */
  newQueue(): Promise<string>
  close(): Promise<void>
}

export async function openPgmq(server: 'postgres15' | 'postgres18'): Promise<OwnPgmq> {
  const { url, drop } = await migratedDatabase(await sharedServer(server))
  const pgmq = await Pgmq.new(url)
  return {
    url,
    pgmq,
    newQueue: async () => {
      const queue = newName('verbs')
      await pgmq.queue.create(queue)
      return queue
    },
    close: async () => {
      await pgmq.close()
      await drop()
    },
  }
}
