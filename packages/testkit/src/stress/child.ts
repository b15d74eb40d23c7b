import { connect } from 'tidings/internal/connect'
import { describeError } from 'tidings/internal/core/message-error'
import type { Actor, Role } from './actors/actor.ts'
import { producer } from './actors/producer.ts'
import { subscriber } from './actors/subscriber.ts'
import { worker } from './actors/worker.ts'
import { HistoryFile } from './history.ts'
import type { Plan } from './plan.ts'
import { Random, shareOf } from './random.ts'

/** The later messages from the parent process. */
export type Signal = 'stop' | 'die at a dead letter' | 'live on'

/** The first message from the parent process. The URL may have a password. */
export interface Orders {
  readonly role: Role
  readonly name: string
  readonly url: string
  readonly plan: Plan
  readonly history: string
}

const actors: Readonly<Record<Role, Actor>> = { producer, worker, subscriber }

async function act({ role, name, url, plan, history: path }: Orders): Promise<void> {
  const history = new HistoryFile(path, name)
  try {
    await using bus = await connect(url)
    process.send?.('ready')
    const random = new Random(plan.seed + Math.floor(shareOf(name) * 1_000_000))
    await actors[role]({ bus, plan, history, random, name, stop: stopping.signal, isToDie: () => isToDie })
  } catch (error) {
    history.tell({ event: 'trouble', doing: `being a ${role}`, code: 'ended', message: describeError(error).message })
    process.exitCode = 1
  } finally {
    history.close()
  }
}

/** The process of one actor. It ends with its parent. */
const stopping = new AbortController()
let isToDie = false
process.once('disconnect', () => stopping.abort())
process.once('message', (orders: Orders) => {
  process.on('message', (signal: Signal) => {
    if (signal === 'stop') stopping.abort()
    isToDie = signal === 'die at a dead letter'
  })
  void act(orders).finally(() => {
    if (process.connected) process.disconnect()
  })
})
