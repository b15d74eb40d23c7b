import type { QueueInfo } from '../../engine.ts'
import { TidingsError } from '../../errors.ts'
import type { Driver } from './driver.ts'
import { keyOf, newNonce, registryKey } from './keys.ts'

const repeatable = { repeatable: true }

/**
 * The names of queues, in a slot of their own. A queue is there if its own `meta` is; a name may be left over by a
 * crash. Never the other way round: a name comes before its queue and goes after it.
 */
export class Registry {
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  async create(queue: string): Promise<boolean> {
    await this.#add(queue)
    const meta = keyOf(queue, 'meta')
    const [created] = (await this.#driver.run('create', [meta], [newNonce()], repeatable)) as [number, string]
    // Again, since somebody who dropped a queue of this name may have removed it meanwhile.
    if (created === 1) await this.#add(queue)
    return created === 1
  }

  /** Removes the name, unless the queue is there again. */
  async forget(queue: string): Promise<void> {
    await this.#driver.call(registryKey, ['HDEL', registryKey, queue])
    if ((await this.incarnationOf(queue)) !== null) await this.#add(queue)
  }

  async names(): Promise<string[]> {
    return (await this.#driver.call(registryKey, ['HKEYS', registryKey])) as string[]
  }

  async list(): Promise<QueueInfo[]> {
    const names = (await this.names()).sort()
    const times = await Promise.all(names.map((queue) => this.#field(queue, 'created')))
    return names.flatMap((queue, index) => {
      const createdAt = times[index]
      return createdAt === null ? [] : [{ queue, createdAt: Number(createdAt) }]
    })
  }

  /** Tells the queue from others of its name, before and after it; null if there is none. */
  incarnationOf(queue: string): Promise<string | null> {
    return this.#field(queue, 'incarnation')
  }

  /** @throws QUEUE_NOT_FOUND */
  async mustHave(queue: string): Promise<string> {
    const incarnation = await this.incarnationOf(queue)
    if (incarnation !== null) return incarnation
    throw new TidingsError('QUEUE_NOT_FOUND', `queue '${queue}' does not exist`, { details: { queue } })
  }

  async #field(queue: string, field: string): Promise<string | null> {
    const meta = keyOf(queue, 'meta')
    return (await this.#driver.call(meta, ['HGET', meta, field])) as string | null
  }

  async #add(queue: string): Promise<void> {
    await this.#driver.call(registryKey, ['HSET', registryKey, queue, ''])
  }
}
