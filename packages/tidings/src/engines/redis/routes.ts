import { PatternIndex } from '../../core/pattern-index.ts'
import type { Binding, Rule } from '../../port/engine.ts'
import type { Driver } from './driver.ts'
import { newNonce, routesKey, topicDestination, topicIn } from './keys.ts'
import type { Registry } from './registry.ts'

const repeatable = { repeatable: true }
/** Another process may have added the route again meanwhile. */
const once = { repeatable: false }

/** From a pattern or a topic into a queue or a topic. A topic is named 't:<topic>'. */
interface Route {
  readonly source: string
  readonly target: string
  readonly boundAt: number
  /** Incarnations of target and source: the route does not count for later ones of the name. A pattern has ''. */
  readonly targets: string
  readonly sources: string
}

/** A topic or a queue that messages of a batch go into. */
export interface Target {
  readonly name: string
  /** '' for any. */
  readonly incarnation: string
  /** Which messages of the batch. */
  readonly messages: readonly number[]
}

export interface QueueTarget extends Target {
  /** Topics, by their numbers in the plan, whose new messages the queue gets. */
  readonly through: readonly number[]
}

export interface Plan {
  /** By name, in the order of bytes. */
  readonly topics: readonly Target[]
  readonly queues: readonly QueueTarget[]
  /** Of the routes that the plan was made by. */
  readonly version: string
}

/**
 * Routes: from patterns into queues and topics, and from topics into queues. This process keeps a copy until the version
 * of the routes changes.
 */
export class Routes {
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  #version = '-'
  #routes: readonly Route[] = []
  /** Positions in the routes, of those from patterns. */
  #patterns = new PatternIndex<number>([])

  constructor(driver: Driver, queues: Registry, topics: Registry) {
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
  }

  bind(rule: Rule): Promise<boolean> {
    return this.#add(...endsOf(rule))
  }

  unbind(rule: Rule): Promise<boolean> {
    return this.#remove(...endsOf(rule))
  }

  /** Removes all routes from and to a queue or topic that is gone. */
  async forget(place: string, incarnation: string): Promise<void> {
    await this.#driver.run('forget', [routesKey], [place, incarnation, newNonce()], repeatable)
  }

  async list(queue: string | null): Promise<Binding[]> {
    if (queue !== null) await this.#queues.mustHave(queue)
    const routes = await this.#current((route) => queue === null || route.target === queue)
    return routes
      .filter(({ source, target }) => topicIn(source) === undefined && topicIn(target) === undefined)
      .map(({ source, target, boundAt }) => ({ pattern: source, queue: target, boundAt }))
  }

  /** The patterns and the queues of topics. A topic is named 't:<topic>'. */
  async links(isWanted: (place: string) => boolean) {
    const routes = await this.#current(({ source, target }) => isWanted(source) || isWanted(target))
    return (place: string) => ({
      patterns: routes.flatMap(({ source, target }) => (target === place ? [source] : [])).sort(),
      queues: routes.flatMap(({ source, target }) => (source === place ? [target] : [])).sort(),
    })
  }

  /**
   * Forgets routes of queues and topics that are gone, which a crash left over.
   * @param stored the routes as they are now: fields and values in turn
   */
  async clean(stored: readonly string[]): Promise<void> {
    this.#learn(stored)
    const ends = new Map(this.#routes.flatMap(endsWithIncarnations).map((end) => [end.join(' '), end]))
    for (const [place, incarnation] of ends.values())
      if ((await this.#incarnationOf(place)) !== incarnation) await this.forget(place, incarnation)
  }

  /**
   * By the routes as they are known here.
   * @param gone incarnations of queues and topics that are gone
   */
  plan(routingKeys: readonly string[], gone: ReadonlySet<string>): Plan {
    const found = new Map<string, { name: string; incarnation: string; messages: number[] }>()
    for (const [index, routingKey] of routingKeys.entries())
      for (const position of [...this.#patterns.find(routingKey)].sort((a, b) => a - b)) {
        const { target: name, targets: incarnation } = this.#routes[position]!
        const key = `${name} ${incarnation}`
        if (gone.has(incarnation) || found.get(key)?.messages.at(-1) === index) continue
        const destination = found.get(key) ?? { name, incarnation, messages: [] }
        destination.messages.push(index)
        found.set(key, destination)
      }
    const destinations = [...found.values()]
    const topics = destinations.flatMap(({ name, ...rest }): Target[] => {
      const topic = topicIn(name)
      return topic === undefined ? [] : [{ name: topic, ...rest }]
    })
    const queues = destinations.filter(({ name }) => topicIn(name) === undefined)
    return this.#withLinks(topics.sort(byName), queues, gone)
  }

  /** All messages go into one topic, and by its links into queues. @throws TOPIC_NOT_FOUND */
  async planFor(topic: string, count: number, gone: ReadonlySet<string>): Promise<Plan> {
    const isLinked = this.#routes.some(({ source }) => source === topicDestination(topic))
    const incarnation = isLinked ? await this.#topics.mustHave(topic) : ''
    const messages = Array.from({ length: count }, (_, index) => index)
    return this.#withLinks([{ name: topic, incarnation, messages }], [], gone)
  }

  #withLinks(topics: readonly Target[], bound: readonly Target[], gone: ReadonlySet<string>): Plan {
    const queues = new Map(
      bound.map((queue) => [`${queue.name} ${queue.incarnation}`, { ...queue, through: [] as number[] }]),
    )
    for (const [number, { name, incarnation }] of topics.entries())
      for (const { source, target, targets, sources } of this.#routes) {
        if (source !== topicDestination(name) || sources !== incarnation || gone.has(targets)) continue
        const key = `${target} ${targets}`
        const queue = queues.get(key) ?? { name: target, incarnation: targets, messages: [], through: [] }
        queue.through.push(number)
        queues.set(key, queue)
      }
    return { topics, queues: [...queues.values()].sort(byName), version: this.#version }
  }

  /** Makes sure that the routes are those of this moment. @returns false if they were not */
  async refresh(): Promise<boolean> {
    const version = (await this.#driver.call(routesKey, ['HGET', routesKey, 'version'])) ?? '-'
    if (version === this.#version) return true
    await this.#load()
    return false
  }

  async #add(source: string, target: string): Promise<boolean> {
    const route = [source, target] as const
    const incarnations = await this.#incarnationsOf(...route)
    const added = (await this.#driver.run('bind', [routesKey], [...route, incarnations, newNonce()], repeatable)) === 1
    // Source or target may have been dropped meanwhile, and the routes with it.
    const now = await this.#incarnationsOf(...route).catch((error: unknown) => error)
    if (now !== incarnations) await this.#take(...route, incarnations)
    if (now instanceof Error) throw now
    return added
  }

  async #remove(source: string, target: string): Promise<boolean> {
    return this.#take(source, target, await this.#incarnationsOf(source, target))
  }

  async #take(source: string, target: string, incarnations: string): Promise<boolean> {
    const args = [source, target, incarnations, newNonce()]
    return (await this.#driver.run('unbind', [routesKey], args, once)) === 1
  }

  /** @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async #incarnationsOf(source: string, target: string): Promise<string> {
    const places = topicIn(source) === undefined ? [target] : [source, target]
    const found: string[] = []
    for (const place of places) {
      const topic = topicIn(place)
      found.unshift(await (topic === undefined ? this.#queues.mustHave(place) : this.#topics.mustHave(topic)))
    }
    return found.join(' ')
  }

  #incarnationOf(place: string): Promise<string | null> {
    const topic = topicIn(place)
    return topic === undefined ? this.#queues.incarnationOf(place) : this.#topics.incarnationOf(topic)
  }

  /** Those of queues and topics that are there. */
  async #current(isWanted: (route: Route) => boolean): Promise<Route[]> {
    await this.#load()
    const routes = this.#routes.filter(isWanted)
    const places = [...new Set(routes.flatMap(endsWithIncarnations).map(([place]) => place))]
    const there = new Map(
      await Promise.all(places.map(async (place) => [place, await this.#incarnationOf(place)] as const)),
    )
    return routes.filter((route) =>
      endsWithIncarnations(route).every(([place, incarnation]) => there.get(place) === incarnation),
    )
  }

  async #load(): Promise<void> {
    this.#learn((await this.#driver.call(routesKey, ['HGETALL', routesKey])) as string[])
  }

  #learn(fields: readonly string[]): void {
    const routes: Route[] = []
    let version = '-'
    for (let at = 0; at < fields.length; at += 2) {
      const [name, value] = [fields[at]!, fields[at + 1]!]
      if (name === 'version') version = value
      else routes.push(toRoute(name, value))
    }
    this.#version = version
    this.#routes = routes.sort(byTargetAndSource)
    const sources = this.#routes.map(({ source }, position) => [source, position] as const)
    this.#patterns = new PatternIndex(sources.filter(([source]) => topicIn(source) === undefined))
  }
}

function endsOf(rule: Rule): [source: string, target: string] {
  const source = 'pattern' in rule ? rule.pattern : topicDestination(rule.topic)
  return [source, 'queue' in rule ? rule.queue : topicDestination(rule.topic)]
}

function endsWithIncarnations({ source, target, sources, targets }: Route): [place: string, incarnation: string][] {
  return sources === ''
    ? [[target, targets]]
    : [
        [target, targets],
        [source, sources],
      ]
}

function toRoute(name: string, value: string): Route {
  const [source = '', target = ''] = name.split(' ')
  const [boundAt = '', targets = '', sources = ''] = value.split(' ')
  return { source, target, boundAt: Number.parseInt(boundAt, 10), targets, sources }
}

const byName = (a: Target, b: Target) => (a.name < b.name ? -1 : 1)

function byTargetAndSource(a: Route, b: Route): number {
  if (a.target !== b.target) return a.target < b.target ? -1 : 1
  return a.source < b.source ? -1 : 1
}
