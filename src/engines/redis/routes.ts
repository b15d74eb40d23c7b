import type { Binding } from '../../engine.ts'
import { matches } from '../../pattern.ts'
import type { Driver } from './driver.ts'
import { newNonce, routesKey } from './keys.ts'
import type { Registry } from './registry.ts'

const repeatable = { repeatable: true }

interface Route extends Binding {
  /** The queue that it was made for; it is of no account for a later one of the name. */
  readonly incarnation: string
}

/** A queue that messages of a batch go into. */
export interface Destination {
  readonly name: string
  readonly incarnation: string
  /** Which messages of the batch. */
  readonly messages: readonly number[]
}

export interface Plan {
  /** By name, in the order of bytes. */
  readonly destinations: readonly Destination[]
  /** Of the routes that it was made by. */
  readonly version: string
}

/** What is published under which patterns goes where. The routes are kept here too, until their version changes. */
export class Routes {
  readonly #driver: Driver
  readonly #registry: Registry
  #version = '-'
  #routes: readonly Route[] = []

  constructor(driver: Driver, registry: Registry) {
    this.#driver = driver
    this.#registry = registry
  }

  async bind(pattern: string, queue: string): Promise<boolean> {
    const incarnation = await this.#registry.mustHave(queue)
    const args = [pattern, queue, incarnation, newNonce()]
    const added = (await this.#driver.run('bind', [routesKey], args, repeatable)) === 1
    // It may have been dropped meanwhile, and its routes with it.
    if ((await this.#registry.incarnationOf(queue)) !== incarnation) {
      await this.forget(queue, incarnation)
      await this.#registry.mustHave(queue)
    }
    return added
  }

  async unbind(pattern: string, queue: string): Promise<boolean> {
    const incarnation = await this.#registry.mustHave(queue)
    return (await this.#driver.run('unbind', [routesKey], [pattern, queue, incarnation, newNonce()], repeatable)) === 1
  }

  /** Removes all routes of a queue that was dropped. */
  async forget(queue: string, incarnation: string): Promise<void> {
    await this.#driver.run('unbind', [routesKey], ['', queue, incarnation, newNonce()], repeatable)
  }

  async list(queue: string | null): Promise<Binding[]> {
    if (queue !== null) await this.#registry.mustHave(queue)
    await this.#load()
    const routes = this.#routes.filter((route) => queue === null || route.queue === queue)
    const names = [...new Set(routes.map((route) => route.queue))]
    const current = new Map(
      await Promise.all(names.map(async (name) => [name, await this.#registry.incarnationOf(name)] as const)),
    )
    return routes
      .filter((route) => current.get(route.queue) === route.incarnation)
      .map(({ pattern, queue, boundAt }) => ({ pattern, queue, boundAt }))
  }

  /** Forgets routes of queues that are gone, which a crash left over. */
  async clean(): Promise<void> {
    await this.#load()
    const queues = new Map(this.#routes.map(({ queue, incarnation }) => [`${queue} ${incarnation}`, queue]))
    for (const [route, queue] of queues) {
      const incarnation = route.slice(queue.length + 1)
      if ((await this.#registry.incarnationOf(queue)) !== incarnation) await this.forget(queue, incarnation)
    }
  }

  /** By the routes as they are known here. */
  plan(routingKeys: readonly string[]): Plan {
    const found = new Map<string, { name: string; incarnation: string; messages: number[] }>()
    for (const [index, routingKey] of routingKeys.entries())
      for (const { pattern, queue: name, incarnation } of this.#routes) {
        if (found.get(name)?.messages.at(-1) === index || !matches(pattern, routingKey)) continue
        const destination = found.get(name) ?? { name, incarnation, messages: [] }
        destination.messages.push(index)
        found.set(name, destination)
      }
    const destinations = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    return { destinations, version: this.#version }
  }

  /** Makes sure that the routes are those of this moment. @returns false if they were not */
  async refresh(): Promise<boolean> {
    const version = (await this.#driver.call(routesKey, ['HGET', routesKey, 'version'])) ?? '-'
    if (version === this.#version) return true
    await this.#load()
    return false
  }

  async #load(): Promise<void> {
    const fields = (await this.#driver.call(routesKey, ['HGETALL', routesKey])) as string[]
    const routes: Route[] = []
    let version = '-'
    for (let at = 0; at < fields.length; at += 2) {
      const [name, value] = [fields[at]!, fields[at + 1]!]
      if (name === 'version') version = value
      else routes.push(toRoute(name, value))
    }
    this.#version = version
    this.#routes = routes.sort(byQueueAndPattern)
  }
}

function toRoute(name: string, value: string): Route {
  const [pattern = '', queue = ''] = name.split(' ')
  const [boundAt, incarnation = ''] = value.split(' ')
  return { pattern, queue, boundAt: Number(boundAt), incarnation }
}

function byQueueAndPattern(a: Route, b: Route): number {
  if (a.queue !== b.queue) return a.queue < b.queue ? -1 : 1
  return a.pattern < b.pattern ? -1 : 1
}
