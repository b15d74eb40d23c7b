import type { NewMessage, SendResult, SendTerms } from '../../port/engine.ts'
import { queueFull } from '../../port/refusals.ts'
import { type Task, toTasks } from './correlations.ts'
import type { Driver } from './driver.ts'
import { keysOf, newNonce, plainKeysOf } from './keys.ts'
import { encode, plainIdsIn, toSendResult } from './messages.ts'
import type { Relay } from './relay/relay.ts'

/** If an answer is lost, the outcome is unknown. */
const once = { repeatable: false }
const onceOnDisk = { repeatable: false, onDisk: true }

/** The names of tasks, by the places of their messages, and the intent that their send fulfils. */
interface Announced {
  readonly nonce: string
  readonly names: readonly (string | undefined)[]
  readonly intent: string
}

const untracked: Announced = { nonce: '', names: [], intent: '' }

type Answer = [results: string[], entries: string[], length?: number, count?: number]

/** Stores messages in a queue. */
export class Sends {
  readonly #driver: Driver
  readonly #relay: Relay

  constructor(driver: Driver, relay: Relay) {
    this.#driver = driver
    this.#relay = relay
  }

  async send(queue: string, messages: readonly NewMessage[], terms?: SendTerms): Promise<SendResult[]> {
    if (messages.length === 0) return []
    const { durability, maxLength } = terms ?? {}
    const onDisk = durability === 'fsync'
    const isTracked = messages.some(({ tracked }) => tracked)
    const announced = isTracked ? await this.#announce(queue, messages, onDisk) : untracked
    const encoded = messages.map((message, index) => encode(message, announced.names[index]))
    const isPlain = encoded.every(([, options]) => options === '')
    const how = onDisk ? onceOnDisk : once
    if (isPlain && announced.intent === '' && maxLength == null) {
      const bodies = encoded.map(([body]) => body)
      const ids = (await this.#driver.run('send-plain', plainKeysOf(queue), bodies, how)) as string
      return plainIdsIn(ids).map((id) => ({ id, duplicate: false }))
    }
    const { nonce, intent } = announced
    const keys = isPlain ? plainKeysOf(queue) : keysOf(queue)
    const args = [nonce, intent, maxLength ?? '', ...(encoded.flat() as string[])]
    const [results, entries, length, count] = (await this.#driver.run('send', keys, args, how)) as Answer
    if (entries.length > 0) await this.#relay.tryDeliver(queue, entries)
    if (length !== undefined) throw queueFull(queue, length, maxLength!, count!)
    return results.map(toSendResult)
  }

  /** Counts tasks before their messages are stored. */
  async #announce(queue: string, messages: readonly NewMessage[], onDisk: boolean): Promise<Announced> {
    const nonce = newNonce()
    const names = toTasks(messages, nonce)
    const tasks = messages.flatMap(({ tracked }, index): Task[] =>
      tracked ? [{ ...tracked, correlation: tracked.correlationId, queue, task: names[index]! }] : [],
    )
    // Asked before anything is written, of tasks too.
    if (onDisk) await this.#driver.confirmDisk(keysOf(queue)[0])
    return { nonce, names, intent: await this.#relay.intend(queue, tasks) }
  }
}
