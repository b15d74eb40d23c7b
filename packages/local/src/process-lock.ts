import { randomBytes } from 'node:crypto'
import { link, readdir, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed } from './failures.ts'
import { hasCode } from './processes.ts'

/**
 * A lock between processes. The holder listens on the socket with the highest number; the kernel closes that socket when
 * the process dies. The next holder takes the next number, which only one process can link. The highest number is never
 * removed: a process that has seen it could otherwise take a lower number.
 * @param directory holds nothing else with such names
 * @returns releases the lock
 * @throws TIMEOUT if the holder does not release the lock; LOCAL_UNAVAILABLE if the directory cannot be used
 */
export async function acquireLock(directory: string, timeoutMs = 90_000): Promise<() => Promise<void>> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    const last = await highest(directory)
    if (await isFree(directory, last, deadline - performance.now())) {
      const release = await takeNumber(directory, last + 1)
      if (release) return release
    }
    await sleep(5)
  }
  throw new TidingsError(
    'TIMEOUT',
    `another process has been starting or stopping the server for long: ${directory} is held`,
    { details: { directory } },
  )
}

const namePattern = /^turn\.(\d+)$/
/** Short, since the path of a socket has little room. */
const unfinishedPrefix = '.t-'

async function numbers(directory: string): Promise<{ names: readonly string[]; taken: readonly number[] }> {
  const names = await readdir(directory).catch((error) => {
    throw openingFailed(error, directory)
  })
  return { names, taken: names.flatMap((name) => namePattern.exec(name)?.[1] ?? []).map(Number) }
}

async function highest(directory: string): Promise<number> {
  return Math.max(0, ...(await numbers(directory)).taken)
}

/** Takes the lock under a number; undefined if another process was faster. */
async function takeNumber(directory: string, number: number): Promise<(() => Promise<void>) | undefined> {
  const waiting = new Set<Socket>()
  const server = createServer((socket) => {
    waiting.add(socket.on('error', () => {}).once('close', () => waiting.delete(socket)))
  })
  const own = join(directory, `turn.${number}`)
  const unfinished = join(directory, `${unfinishedPrefix}${randomBytes(4).toString('hex')}`)
  const release = () => close(server, waiting)
  try {
    // The socket listens before it is linked: a socket that does not listen counts as abandoned.
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(unfinished, resolve))
    await link(unfinished, own)
    const { names, taken } = await numbers(directory)
    const isLast = taken.every((each) => each <= number)
    const old = isLast
      ? names.filter((name) => name.startsWith(unfinishedPrefix) || Number(namePattern.exec(name)?.[1]) < number)
      : []
    await Promise.all(old.map((name) => rm(join(directory, name), { force: true })))
    if (isLast) return release
    // A holder had this number before and its file was removed; the link of this process brought it back.
    await rm(own, { force: true })
  } catch (error) {
    // ENOENT: the holder removed the unfinished socket as a leftover.
    if (!hasCode(error, 'EEXIST', 'ENOENT')) {
      await release()
      throw openingFailed(error, own)
    }
  }
  await release()
  return undefined
}

async function close(server: Server, waiting: Set<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  for (const socket of waiting) socket.destroy()
  await closed
}

/** Waits until nobody holds the lock. False after the timeout, or if the caller has to look again. */
async function isFree(directory: string, number: number, timeoutMs: number): Promise<boolean> {
  if (number === 0) return true
  return new Promise((resolve) => {
    const socket = connect(join(directory, `turn.${number}`))
    socket.once('error', (error) => resolve(hasCode(error, 'ECONNREFUSED')))
    socket.once('close', () => resolve(false))
    socket.setTimeout(Math.max(1, timeoutMs), () => socket.destroy())
    socket.resume()
  })
}
