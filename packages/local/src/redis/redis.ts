import { TidingsError } from 'tidings/internal/core/errors'
import type { ServerType } from '../server-type.ts'
import { serverUser } from '../users.ts'
import { findProgram } from './program.ts'
import { findServer, madeBy, socketOf, startServer, stopServer } from './server.ts'
import { describe, loadDriver, openSentinelSession } from './session.ts'

/** The Redis or Valkey that is installed on this machine, with its data on disk. */
export const redis: ServerType = {
  name: 'redis',
  title: 'Redis',

  async checkPrograms() {
    await loadDriver()
    await findProgram(serverUser())
  },
  madeBy,
  find: ({ dataDirectory }) => findServer(dataDirectory),
  async describe(paths, purpose) {
    const { dataDirectory } = paths
    if (!(await findServer(dataDirectory))) return undefined
    // Every connection counts as use.
    if (purpose === 'status') {
      const product = await madeBy(dataDirectory)
      return product && { ...product, watched: false }
    }
    return describe(socketOf(paths)).catch((error: unknown) => {
      if (error instanceof TidingsError) throw error
      return undefined
    })
  },
  async open(paths) {
    const server = await startServer(paths, await findProgram(serverUser()))
    return { server, session: await openSentinelSession(socketOf(paths)) }
  },
  stop: ({ dataDirectory }) => stopServer(dataDirectory),
}
