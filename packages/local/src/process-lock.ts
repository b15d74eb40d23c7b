import { randomBytes } from 'node:crypto'
import { link, readdir, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed } from './failures.ts'
import { hasCode } from './processes.ts'

/**
 * Lets one process at a time through: who listens on the socket with the highest number is inside, and the kernel ends
 * that when the process dies. The next one in takes the next number, which only one can have. The highest is never
 * removed, or somebody who has seen it could come in by a lower one.
 * @param directory holds nothing else with such names
 * @returns leaves again
 * @throws TIMEOUT if the one inside does not leave; LOCAL_UNAVAILABLE if the directory cannot be used
 */
export async function enter(directory: string, timeoutMs = 90_000): Promise<() => Promise<void>> {
  const deadline = performance.now() + timeoutMs
  while (performance.now() < deadline) {
    const last = await highest(directory)
    if (await isFree(directory, last, deadline - performance.now())) {
      const leave = await take(directory, last + 1)
      if (leave) return leave
    }
    await sleep(5)
  }
  throw new TidingsError(
    'TIMEOUT',
    `another process has been starting or stopping the server for long: ${directory} is held`,
    { details: { directory } },
  )
}

const form = /^turn\.(\d+)$/
/** Short, since the path of a socket has little room. */
const aside = '.t-'

async function numbers(directory: string): Promise<{ names: readonly string[]; taken: readonly number[] }> {
  const names = await readdir(directory).catch((error) => {
    throw openingFailed(error, directory)
  })
  return { names, taken: names.flatMap((name) => form.exec(name)?.[1] ?? []).map(Number) }
}

async function highest(directory: string): Promise<number> {
  return Math.max(0, ...(await numbers(directory)).taken)
}

/** Enters with a number; undefined if another process was faster. */
async function take(directory: string, number: number): Promise<(() => Promise<void>) | undefined> {
  const waiting = new Set<Socket>()
  const server = createServer((socket) => {
    waiting.add(socket.on('error', () => {}).once('close', () => waiting.delete(socket)))
  })
  const own = join(directory, `turn.${number}`)
  const unfinished = join(directory, `${aside}${randomBytes(4).toString('hex')}`)
  const exit = () => leave(server, waiting)
  try {
    // It listens before it can be seen: one that does not counts as dead.
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(unfinished, resolve))
    await link(unfinished, own)
    const { names, taken } = await numbers(directory)
    const isLast = taken.every((each) => each <= number)
    const old = isLast ? names.filter((name) => name.startsWith(aside) || Number(form.exec(name)?.[1]) < number) : []
    await Promise.all(old.map((name) => rm(join(directory, name), { force: true })))
    if (isLast) return exit
    // It was somebody's who has left, and is there again only because of us.
    await rm(own, { force: true })
  } catch (error) {
    // ENOENT: who is inside took it for something left behind.
    if (!hasCode(error, 'EEXIST', 'ENOENT')) {
      await exit()
      throw openingFailed(error, own)
    }
  }
  await exit()
  return undefined
}

async function leave(server: Server, waiting: Set<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  for (const socket of waiting) socket.destroy()
  await closed
}

/** Waits until nobody is inside. False if that takes too long, or looking is needed again. */
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
