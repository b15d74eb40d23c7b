import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError, type TidingsError } from 'tidings/internal/core/errors'
import { decodeText, parseJson } from 'tidings/internal/core/json'
import { legacySubscribersTopic } from 'tidings/internal/core/names'
import { noTopic } from 'tidings/internal/port/refusals'
import type { SubscriptionState, TopicMessage } from 'tidings/internal/port/topic-store'
import type { Access, Scope } from '../http/route.ts'
import type { AppContext } from './context.ts'

/*
 * The routes of the topic server queue-sample, as it answered them, over topics of ours. Its subscribers have numbers
 * where our subscriptions have names: a number is the offset of an entry in a topic of our own, which says the topic of
 * the subscriber; the subscription is called by the number.
 */

/** What the old server's routes need of ours. */
export interface LegacyDependencies {
  readonly bus: Bus
  readonly maxMessageBytes: number
  admit(context: AppContext, needs: { readonly scope: Scope }): Promise<Access>
  readBody(context: AppContext): Promise<Uint8Array>
  /** What may be told of an error. */
  redact(error: unknown, context: AppContext): TidingsError
}

interface LegacyCall {
  readonly bus: Bus
  readonly access: Access
  readonly maxMessageBytes: number
  readonly signal: AbortSignal
  /** @returns undefined for one that is missing or empty */
  text(name: string): string | undefined
  value(name: string): unknown
  /** @throws 422 for what is no whole number */
  integer(name: string): number | undefined
}

interface LegacyRoute {
  readonly scope: Scope
  /** Beside GET. */
  readonly methods: string
  /** Whether methods beside GET are answered with a body, too. */
  readonly tells?: boolean
  answer(call: LegacyCall): Promise<unknown>
}

/** What is wrong with a request, in the words of the old server. */
class Refusal extends Error {
  readonly status: number
  constructor(message: string, status = 422) {
    super(message)
    this.status = status
  }
}

const mostListed = 10_000

const legacyRoutes: Readonly<Record<string, LegacyRoute>> = {
  topics: {
    scope: 'read',
    methods: '',
    answer: async ({ bus, access, text }) =>
      (await bus.stored.topics())
        .filter(({ topic }) => access.allows('read', topic) && [undefined, topic].includes(text('topic')))
        .map(({ topic, description, createdAt }) => ({ topic, description, create_ts: pythonTime(createdAt) })),
  },

  topic_messages: {
    scope: 'receive',
    methods: '',
    async answer(call) {
      const rows: object[] = []
      for (const topic of await listed(call, 'receive')) {
        const { messages, more } = await call.bus.stored.topic(topic).readPage(0, mostListed + 1)
        rows.push(...messages.map((message) => toRow(topic, message)))
        if (more || rows.length > mostListed)
          throw new Refusal(`More than ${mostListed} messages. Read them with /v1/topics/${topic}/messages`)
      }
      return rows
    },
  },

  topic_subscribers: {
    scope: 'read',
    methods: '',
    async answer(call) {
      const rows: object[] = []
      for (const topic of await listed(call, 'read')) {
        const states = await call.bus.stored.topic(topic).subscriptions()
        rows.push(
          ...states.filter(({ subscription }) => /^\d+$/.test(subscription)).map((one) => toSubscriber(topic, one)),
        )
      }
      return rows
    },
  },

  topic: {
    scope: 'admin',
    methods: 'POST PUT',
    tells: true,
    async answer({ bus, text }) {
      const [topic, description] = [text('topic'), text('description')]
      if (topic === undefined || description === undefined) throw new Refusal('Missing parameters topic, description')
      const isNew = (await isMissing(bus, topic)) && (await bus.stored.topic(topic).create({ description }))
      if (!isNew) throw new Refusal(`The topic "${topic}" already exists`)
      return { topic, message: `Topic "${topic}" created` }
    },
  },

  topic_delete: {
    scope: 'admin',
    methods: 'DELETE',
    async answer({ bus, text }) {
      const topic = text('topic')
      if (topic === undefined) throw new Refusal('Missing parameter: topic')
      await bus.topic(topic).drop()
      return { message: `Topic "${topic}" deleted` }
    },
  },

  publish: {
    scope: 'send',
    methods: 'POST PUT',
    async answer({ bus, text, value, maxMessageBytes }) {
      const [topic, message] = [text('topic'), value('message')]
      if (topic === undefined || message === undefined) throw new Refusal('Missing parameters topic, message')
      const publishing = bus.topic(topic, { create: false, maxMessageBytes }).publish(message)
      const { offset } = await whereThere(publishing, `Topic "${topic}" does not exist`)
      return { message: `Saved message to topic "${topic}" at offset ${offset}` }
    },
  },

  subscribe: {
    scope: 'receive',
    methods: '',
    async answer({ bus, text }) {
      const topic = text('topic')
      if (topic === undefined) throw new Refusal("Missing 'topic' parameter")
      const stored = bus.stored.topic(topic)
      await whereThere(stored.info(), `The topic "${topic}" does not exist`)
      for (;;) {
        const { offset } = await bus.topic(legacySubscribersTopic).publish({ topic })
        // Somebody may have called a subscription of ours like this.
        if (await stored.subscription(String(offset)).create('latest')) return { topic, subscriber_id: offset }
      }
    },
  },

  unsubscribe: {
    scope: 'receive',
    methods: 'POST PUT DELETE',
    async answer(call) {
      const id = call.integer('subscriber_id')
      if (id === undefined) throw new Refusal('Missing parameter: subscriber_id')
      await (await subscriptionOf(call, id))?.delete()
      return { message: `Subscriber "${id}" deleted` }
    },
  },

  get_message: {
    scope: 'receive',
    methods: '',
    async answer(call) {
      const id = call.integer('subscriber_id')
      const wanted = call.integer('num_messages') ?? 1
      if (id === undefined) throw new Refusal('Missing parameter: subscriber_id')
      const subscription = await subscriptionOf(call, id)
      const patience = { waitMs: 0, signal: call.signal }
      const page = await subscription?.fetchPage(Math.min(Math.max(wanted, 1), 20), patience)
      const rows = (page?.messages ?? []).map((message) => toRow(subscription!.topic.name, message))
      return rows.length === 1 ? rows[0] : rows
    },
  },

  ack_message: {
    scope: 'receive',
    methods: 'POST PUT',
    tells: true,
    async answer(call) {
      const [id, offset] = [call.integer('subscriber_id'), call.integer('offset')]
      if (id === undefined || offset === undefined) throw new Refusal('Missing parameters subscriber_id, offset')
      const subscription = await subscriptionOf(call, id)
      if (subscription === null) return null
      await subscription.seek({ offset: Math.max(0, offset) + 1 })
      return toSubscriber(subscription.topic.name, await subscription.state())
    },
  },

  topic_reset: {
    scope: 'admin',
    methods: 'POST PUT',
    async answer({ bus, text, integer }) {
      const topic = text('topic')
      if (topic === undefined) throw new Refusal("Missing 'topic' parameter")
      const offset = integer('offset') ?? 1
      const isThere = !(await isMissing(bus, topic))
      const moved = isThere ? await bus.stored.topic(topic).seek({ offset: Math.max(0, offset) }) : 0
      return { topic, offset, subscriber_count: moved }
    },
  },
}

/** Their paths: what they do, a page of another site must not have done. */
export const legacyPaths: ReadonlySet<string> = new Set(Object.keys(legacyRoutes).map((name) => `/${name}`))

/** Answers what is no route of ours, as the old server did. */
export function legacyTopics(dependencies: LegacyDependencies): (context: AppContext) => Promise<Response> {
  return async (context) => {
    try {
      return await answer(context, dependencies)
    } catch (error) {
      const { status, message } = toRefusal(error, context, dependencies)
      return context.json({ http_status: status, error_message: message }, status as 422)
    }
  }
}

async function answer(context: AppContext, dependencies: LegacyDependencies): Promise<Response> {
  const { method, path } = context.req
  const name = path.slice(1)
  if (!/^(GET|POST|PUT|DELETE)$/.test(method)) throw new Refusal('Unsupported command', 501)
  const isJson = /^application\/json\s*(;|$)/i.test(context.req.header('Content-Type') ?? '')
  if (method === 'POST' && !isJson)
    throw new Refusal(
      `POST command only accepts "application/json" content type. (Got "${context.req.header('Content-Type')}")`,
      400,
    )
  const route = Object.hasOwn(legacyRoutes, name) ? legacyRoutes[name]! : undefined
  if (route === undefined) throw new Refusal(`Unsupported route (${name})`, 501)
  if (method !== 'GET' && !route.methods.split(' ').includes(method))
    throw new Refusal(`Unsupported route (${name}) for ${method}`, 401)
  const { bus, maxMessageBytes } = dependencies
  const access = await dependencies.admit(context, route)
  const parameters = method === 'POST' ? await fromBody(context, dependencies) : fromQuery(context.req.url)
  const call = { ...readers(parameters), bus, maxMessageBytes, signal: context.req.raw.signal }
  const topic = call.text('topic')
  if (topic !== undefined && !access.allows(route.scope, topic)) throw noTopic(topic)
  const told = await route.answer({ ...call, access })
  return method === 'GET' || route.tells ? context.json(told as object | null) : context.body(null, 200)
}

/** As the old server did, the first of several counts, and an empty one in a URL does not. */
function fromQuery(url: string): ReadonlyMap<string, unknown> {
  const parameters = new Map<string, unknown>()
  for (const [name, text] of new URL(url).searchParams)
    if (text !== '' && !parameters.has(name)) parameters.set(name, text)
  return parameters
}

async function fromBody(context: AppContext, { readBody }: LegacyDependencies): Promise<ReadonlyMap<string, unknown>> {
  const given = parseJson(decodeText(await readBody(context), 'the body'), 'the body')
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new Refusal('Expected a JSON object with the parameters')
  return new Map(Object.entries(given).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]))
}

function readers(parameters: ReadonlyMap<string, unknown>): Pick<LegacyCall, 'text' | 'value' | 'integer'> {
  const value = (name: string) => parameters.get(name) ?? undefined
  const text = (name: string) => (value(name) === undefined || value(name) === '' ? undefined : String(value(name)))
  const integer = (name: string) => {
    const given = text(name)
    const number = /^\s*[+-]?\d+\s*$/.test(given ?? '0') ? Number(given) : Number.NaN
    if (given === undefined || Number.isSafeInteger(number)) return given === undefined ? undefined : number
    throw new Refusal(`Expected integer value for the ${name} parameter. Got [${given}].`)
  }
  return { value, text, integer }
}

/** The topic that is named, or all that the caller may use. */
async function listed({ bus, access, text }: LegacyCall, scope: Scope): Promise<string[]> {
  const named = text('topic')
  const topics = (await bus.stored.topics()).map(({ topic }) => topic).filter((topic) => access.allows(scope, topic))
  return named === undefined ? topics : topics.filter((topic) => topic === named)
}

async function subscriptionOf({ bus, access, signal }: LegacyCall, id: number) {
  if (id < 1 || signal.aborted) return null
  try {
    const { messages } = await bus.stored.topic(legacySubscribersTopic).readPage(id - 1, 1)
    const entry = messages.find(({ offset }) => offset === id)
    if (entry === undefined) return null
    const { topic } = JSON.parse(entry.data) as { topic: string }
    if (!access.allows('receive', topic)) return null

    const subscription = bus.stored.topic(topic).subscription(String(id))
    await subscription.state()
    return subscription
  } catch (error) {
    if (isTidingsError(error, 'TOPIC_NOT_FOUND') || isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND')) return null
    throw error
  }
}

async function isMissing(bus: Bus, topic: string): Promise<boolean> {
  try {
    await bus.stored.topic(topic).info()
    return false
  } catch (error) {
    if (isTidingsError(error, 'TOPIC_NOT_FOUND')) return true
    throw error
  }
}

async function whereThere<T>(call: Promise<T>, otherwise: string): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw isTidingsError(error, 'TOPIC_NOT_FOUND') ? new Refusal(otherwise) : error
  }
}

function toRefusal(error: unknown, context: AppContext, { redact }: LegacyDependencies): Refusal {
  if (error instanceof Refusal) return error
  const { httpStatus, message } = redact(error, context)
  // All that is wrong with the parameters had one status.
  const isOther = [401, 403, 413, 429].includes(httpStatus) || httpStatus >= 500
  return new Refusal(message, isOther ? httpStatus : 422)
}

function toRow(topic: string, { offset, data, publishedAt }: TopicMessage): object {
  const message = data.startsWith('"') ? JSON.parse(data) : data
  return { id: offset, topic, _offset: offset, message, publish_ts: pythonTime(publishedAt) }
}

function toSubscriber(topic: string, { subscription, cursor, movedAt, createdAt }: SubscriptionState): object {
  return { id: Number(subscription), topic, _offset: cursor, action_ts: pythonTime(movedAt ?? createdAt) }
}

/** As Python writes a time, which the old server did not do in ISO 8601. */
const pythonTime = (time: number) => new Date(time).toISOString().replace('T', ' ').replace('Z', '000+00:00')
