import type { Claim, Engine, PublishedCopy, SendResult, StoredMessage } from '../engine.ts'
import type { AppendResult, TopicMessage, TopicStore } from '../topic-store.ts'

/** One call of the storage, after its end. */
export interface Operation {
  readonly name: string
  readonly type: 'send' | 'receive' | 'settle'
  /** The queue or topic; empty where it is not known before. */
  readonly destination: string
  readonly seconds: number
  /** How many messages were stored, by queue or topic. */
  readonly sent?: ReadonlyMap<string, number>
  /** How many messages were given to a reader. */
  readonly consumed?: number
  readonly error?: unknown
}

type Counts = Pick<Operation, 'sent' | 'consumed'>

/** What is counted of a member of the port: with the answer, given to the caller at the first argument. */
interface Rule {
  readonly name: string
  readonly type: Operation['type']
  readonly count?: (answer: never, destination: string) => Counts
}

const stored = (results: readonly { readonly duplicate: boolean }[]) => results.filter((one) => !one.duplicate).length

const queueRules: Readonly<Record<string, Rule>> = {
  send: {
    name: 'send',
    type: 'send',
    count: (results: SendResult[], queue) => ({ sent: new Map([[queue, stored(results)]]) }),
  },
  publish: { name: 'publish', type: 'send', count: (copies: PublishedCopy[][]) => ({ sent: copiesByPlace(copies) }) },
  claim: { name: 'receive', type: 'receive', count: (claim: Claim) => ({ consumed: claim.messages.length }) },
  pop: { name: 'pop', type: 'receive', count: (messages: StoredMessage[]) => ({ consumed: messages.length }) },
  settle: { name: 'settle', type: 'settle' },
  extend: { name: 'extend', type: 'settle' },
  cancel: { name: 'cancel', type: 'settle' },
}

const topicRules: Readonly<Record<string, Rule>> = {
  append: {
    name: 'publish',
    type: 'send',
    count: (results: AppendResult[], topic) => ({ sent: new Map([[topic, stored(results)]]) }),
  },
  read: { name: 'receive', type: 'receive', count: (messages: TopicMessage[]) => ({ consumed: messages.length }) },
  ack: { name: 'ack', type: 'settle' },
}

function copiesByPlace(copies: readonly (readonly PublishedCopy[])[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const copy of copies.flat()) {
    const place = 'queue' in copy ? copy.queue : copy.topic
    if (!copy.duplicate) counts.set(place, (counts.get(place) ?? 0) + 1)
  }
  return counts
}

/** The same engine; tells of every call that sends, receives or settles. */
export function observed(engine: Engine, note: (operation: Operation) => void): Engine {
  const topics = engine.topics && watch<TopicStore>(engine.topics, topicRules, note)
  return watch(engine, queueRules, note, { topics })
}

function watch<T extends object>(
  target: T,
  rules: Readonly<Record<string, Rule>>,
  note: (operation: Operation) => void,
  instead: Readonly<Record<string, unknown>> = {},
): T {
  return new Proxy(target, {
    get(_, property) {
      if (typeof property === 'string' && Object.hasOwn(instead, property)) return instead[property]
      const member: unknown = Reflect.get(target, property, target)
      if (typeof member !== 'function') return member
      const rule = typeof property === 'string' && Object.hasOwn(rules, property) ? rules[property] : undefined
      // Private fields are those of the engine itself.
      const call = member.bind(target) as (...args: unknown[]) => unknown
      return rule ? (...args: unknown[]) => measure(rule, args, () => call(...args) as Promise<never>, note) : call
    },
  })
}

async function measure(
  { name, type, count }: Rule,
  [first]: readonly unknown[],
  call: () => Promise<never>,
  note: (operation: Operation) => void,
): Promise<unknown> {
  const start = performance.now()
  const destination = typeof first === 'string' ? first : ''
  const operation = () => ({ name, type, destination, seconds: (performance.now() - start) / 1000 })
  try {
    const answer = await call()
    note({ ...operation(), ...count?.(answer, destination) })
    return answer
  } catch (error) {
    note({ ...operation(), error })
    throw error
  }
}
