import { rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { TidingsError } from '../errors.ts'
import { openingFailed } from './failures.ts'
import { hasCode } from './processes.ts'

/**
 * Lets one process at a time through: who listens on the socket is inside, and the kernel ends that when the process
 * dies. Two can slip in when both clear away what a dead process left behind; what they do inside bears it (a cluster is
 * renamed into place, PostgreSQL locks its data directory, and the sentinel in charge holds a lock in the server).
 * @returns leaves again
 * @throws TIMEOUT if the one inside does not leave; LOCAL_UNAVAILABLE if the path cannot be used
 */
export async function enter(path: string, timeoutMs = 90_000): Promise<() => Promise<void>> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    const waiting = new Set<Socket>()
    const server = createServer((socket) => {
      waiting.add(socket.on('error', () => {}).once('close', () => waiting.delete(socket)))
    })
    if (await listens(server, path)) return () => leave(server, waiting)
    if ((await othersLeaving(path, deadline - performance.now())) === 'dead') await rm(path, { force: true })
    await sleep(5)
  }
  throw new TidingsError(
    'TIMEOUT',
    `another process has been starting or stopping the server for long: ${path} is held`,
    {
      details: { path },
    },
  )
}

async function listens(server: Server, path: string): Promise<boolean> {
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
    return true
  } catch (error) {
    if (hasCode(error, 'EADDRINUSE')) return false
    throw openingFailed(error, path)
  }
}

async function leave(server: Server, waiting: Set<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  for (const socket of waiting) socket.destroy()
  await closed
}

/** Waits until the one inside leaves. */
function othersLeaving(path: string, timeoutMs: number): Promise<'gone' | 'dead'> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('error', (error) => resolve(hasCode(error, 'ECONNREFUSED') ? 'dead' : 'gone'))
    socket.once('close', () => resolve('gone'))
    socket.setTimeout(Math.max(1, timeoutMs), () => socket.destroy())
    socket.resume()
  })
}
