import { TidingsError } from '../../core/errors.ts'
import { fromWord, maxProcesses, type ProcessInfo, readDescription, readSince } from '../../port/processes.ts'
import type { Driver } from './driver.ts'
import { replyCode, toTidingsError } from './errors.ts'
import { processChannels } from './keys.ts'
import type { Server } from './server.ts'

/** The processes that say who they are, on any server: each is known where it works. */
export async function listProcesses({ topology }: Pick<Driver, 'topology'>): Promise<ProcessInfo[]> {
  const all = (await Promise.all(topology.servers().map(processesAt))).flat()
  const found = new Map(all.map((one) => [one.id, one]))
  return [...found.values()].slice(0, maxProcesses)
}

async function processesAt(server: Server): Promise<ProcessInfo[]> {
  try {
    const channels = (await server.call(['PUBSUB', 'CHANNELS', processChannels], { timeoutMs })) as string[]
    return channels.flatMap((channel) => toProcess(channel, server))
  } catch (error) {
    if (replyCode(error) !== 'NOPERM') throw toTidingsError(error, server.where, 'CONNECTION_LOST')
    throw new TidingsError('PERMISSION_DENIED', `Redis at ${server.where}: this user may not run PUBSUB CHANNELS`, {
      cause: error,
      hint: 'Allow it: ACL SETUSER <user> +pubsub|channels.',
    })
  }
}

const timeoutMs = 5_000

/** None for a channel of another database, and for one that no process of ours listens to. */
function toProcess(channel: string, { database }: Server): ProcessInfo[] {
  const [, number, id, word] = /^\{tidings\}:process:(\d+):([\w-]{8}):([\w-]+)$/.exec(channel) ?? []
  if (Number(number) !== database || id === undefined || word === undefined) return []
  const told = fromWord(word)
  const [description, since] = [readDescription(told), readSince(told)]
  return description === null || since === null ? [] : [{ ...description, id, since, queues: null }]
}
