import type { Client } from 'pg'

/**
 * Whether a connection goes to the server itself. A pooler answers the start of a connection on its own, with a process
 * id of its own making; behind one, listening and locks of a session cannot be relied on.
 */
export async function isDirect(client: Client): Promise<boolean> {
  const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
  const { processID } = client as Client & { processID?: number | null }
  return rows[0].pid === processID
}
