import type { TidingsError } from '../../core/errors.ts'
import type { JsonObject } from '../../core/json.ts'
import { noQueue, noTopic } from '../../port/refusals.ts'
import type { Driver } from './driver.ts'
import { keyOf, keysOf, newNonce, registryKey, topicKeyOf, topicRegistryKey } from './keys.ts'

const repeatable = { repeatable: true }
/** Names in one call. */
const lookedAtOnce = 500

/** The kind of names in a registry. */
interface Kind {
  readonly key: string
  readonly create: 'create' | 'topic-create'
  metaOf(name: string): string
  missing(name: string): TidingsError
}

export const queues: Kind = {
  key: registryKey,
  create: 'create',
  metaOf: (queue) => keyOf(queue, 'meta'),
  missing: noQueue,
}

export const topics: Kind = {
  key: topicRegistryKey,
  create: 'topic-create',
  metaOf: (topic) => topicKeyOf(topic, 'meta'),
  missing: noTopic,
}

interface Listed {
  readonly name: string
  readonly createdAt: number
  readonly settings?: JsonObject
}

/**
 * The names of queues, or of topics, in a slot of their own. A queue is there if its own `meta` is; a name may be left
 * over by a crash. A queue without a name cannot be: the name comes before its queue and goes after it.
 */
export class Registry {
  readonly #driver: Driver
  readonly #kind: Kind

  constructor(driver: Driver, kind: Kind) {
    this.#driver = driver
    this.#kind = kind
  }

  /** @param settings names and values in turn, which a topic has in its `meta` */
  async create(name: string, settings: readonly (string | number)[] = []): Promise<boolean> {
    await this.#add(name)
    const { create, metaOf } = this.#kind
    const args = [newNonce(), ...settings]
    const [created] = (await this.#driver.run(create, [metaOf(name)], args, repeatable)) as [number, string]
    // Again: another process that dropped an earlier one of this name may have removed the name meanwhile.
    if (created === 1) await this.#add(name)
    return created === 1
  }

  /** Removes the name, unless a new queue or topic of the name is there. */
  async forget(name: string): Promise<void> {
    await this.#driver.call(this.#kind.key, ['HDEL', this.#kind.key, name])
    if ((await this.incarnationOf(name)) !== null) await this.#add(name)
  }

  async names(): Promise<string[]> {
    return (await this.#driver.call(this.#kind.key, ['HKEYS', this.#kind.key])) as string[]
  }

  /** Those that are there, by name, or only the one that is named. @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async list(only: string | null): Promise<Listed[]> {
    const names = only === null ? (await this.names()).sort() : [only]
    const parts = this.#driver.partsOf(names, lookedAtOnce)
    const found = (await Promise.all(parts.map((some) => this.#look(some)))).flat()
    if (only !== null && found[0] === null) throw this.#kind.missing(only)
    return found.filter((one) => one !== null)
  }

  async #look(names: readonly string[]): Promise<(Listed | null)[]> {
    const [first, ...others] = names.map((name) => this.#kind.metaOf(name))
    const answers = (await this.#driver.run('describe', [first!, ...others], [], repeatable)) as (string | null)[][]
    return answers.map(([createdAt, settings], index) => {
      if (createdAt == null) return null
      return {
        name: names[index]!,
        createdAt: Number(createdAt),
        ...(settings == null ? {} : { settings: JSON.parse(settings) as JsonObject }),
      }
    })
  }

  /** @returns all settings that a queue has now @throws QUEUE_NOT_FOUND */
  async configure(name: string, change: JsonObject): Promise<JsonObject> {
    for (;;) {
      const before = (await this.#field(name, 'settings')) ?? ''
      const merged = Object.entries({ ...JSON.parse(before || '{}'), ...change }).filter(([, value]) => value !== null)
      const after = merged.length > 0 ? JSON.stringify(Object.fromEntries(merged)) : ''
      const settings = Object.fromEntries(merged) as JsonObject
      const args = [before, after, 'limits' in change ? 1 : 0, pausedUntil(settings)]
      if ((await this.#driver.run('configure', keysOf(name), args, repeatable)) === 1) return settings
    }
  }

  /** Differs from queue to queue of the same name; null if there is none. */
  incarnationOf(name: string): Promise<string | null> {
    return this.#field(name, 'incarnation')
  }

  /** @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async mustHave(name: string): Promise<string> {
    const incarnation = await this.incarnationOf(name)
    if (incarnation !== null) return incarnation
    throw this.#kind.missing(name)
  }

  async #field(name: string, field: string): Promise<string | null> {
    const meta = this.#kind.metaOf(name)
    return (await this.#driver.call(meta, ['HGET', meta, field])) as string | null
  }

  async #add(name: string): Promise<void> {
    await this.#driver.run('set-field', [this.#kind.key], [name, ''], repeatable)
  }
}

/** As a claim reads it. */
function pausedUntil({ pause }: { pause?: unknown }): string {
  if (!pause) return ''
  const { until } = pause as { until: string | null }
  return until === null ? 'inf' : String(Date.parse(until))
}
