import type {
  Claim,
  ClaimRequest,
  Engine,
  PublishedCopy,
  SendResult,
  Settlement,
  SettleResult,
  StoredMessage,
} from './engine.ts'
import type { HistoryStore, HistoryWriter } from './history.ts'
import type { Operation, Origin, Outcome, Received, Tracer } from './operations.ts'
import type { ScheduleStore, Sending } from './schedule-store.ts'
import type { Tallies } from './tallies.ts'
import type { AppendResult, TopicMessage, TopicStore } from './topic-store.ts'
import type { NewMessage } from './types.ts'

type Counts = Pick<Outcome, 'count' | 'stored'>

export interface Rule extends Pick<Operation, 'name' | 'type'> {
  /** Whether the first argument is the destination. */
  readonly isNamed: boolean
  readonly counts: (answer: never, destination: string | null) => Counts
  /** How the tracer is told of a call; left out: not at all. */
  readonly trace?: Trace
  /** What a call adds to the history of the storage; left out: nothing. */
  readonly tally?: Tally
}

export type Tally = (tallies: Tallies, answer: never, args: readonly unknown[]) => void

type Trace = (
  tracer: Tracer,
  operation: Operation,
  args: readonly unknown[],
  call: (...args: unknown[]) => Promise<unknown>,
) => Promise<unknown>

/** @param at the argument that has the messages */
const sending =
  (at: number): Trace =>
  (tracer, operation, args, call) =>
    tracer.send(
      operation,
      args[at] as NewMessage[],
      (messages) => call(...args.with(at, messages)) as Promise<unknown[]>,
    )

const settling: Trace = (tracer, operation, args, call) =>
  tracer.settle(operation, args[1] as { origin?: Origin }[], () => call(...args))

/** @param isForHandlers the call reads ahead: its messages are handed over later, one by one */
const receiving =
  <A>(
    messagesIn: (answer: A) => readonly Received[],
    isForHandlers: (...args: never[]) => boolean = () => false,
  ): Trace =>
  async (tracer, operation, args, call) => {
    const startedAt = performance.now()
    try {
      const answer = await call(...args)
      const messages = messagesIn(answer as A)
      if (messages.length > 0 && !isForHandlers(...(args as never[]))) tracer.received(operation, messages, startedAt)
      return answer
    } catch (error) {
      tracer.received(operation, [], startedAt, error)
      throw error
    }
  }

type Members<T> = {
  [M in keyof T]-?: NonNullable<T[M]> extends (...args: never[]) => unknown ? M : never
}[keyof T] &
  string

/** Every member has a rule, so that none is forgotten. */
export type Rules<T> = { readonly [M in Members<T>]: (member: M) => Rule }

export const nothing: Counts = { count: 0, stored: new Map() }
export const counted = (count: number): Counts => ({ ...nothing, count })
const storedIn = (stored: ReadonlyMap<string, number>): Counts => ({
  stored,
  count: [...stored.values()].reduce((sum, one) => sum + one, 0),
})

const managing = (isNamed: boolean) => (name: string) => ({
  name,
  type: 'manage' as const,
  isNamed,
  counts: () => nothing,
})
/** About one queue or topic… */
const ofOne = managing(true)
/** …or about none, or several. */
const ofAll = managing(false)

const rule =
  <A>(
    type: Operation['type'],
    name: string,
    counts: (answer: A, destination: string | null) => Counts,
    trace?: Trace,
    isNamed = true,
  ) =>
  (): Rule => ({ type, name, isNamed, counts, ...(trace ? { trace } : {}) })

/** The same, and adds to the history. */
const tallied = (ruleOf: () => Rule, tally: Tally) => (): Rule => ({ ...ruleOf(), tally })

const countStored = (results: readonly (SendResult | AppendResult)[], destination: string | null) =>
  storedIn(new Map([[destination ?? '', results.filter(({ duplicate }) => !duplicate).length]]))

function countCopies(copies: readonly (readonly PublishedCopy[])[]): Counts {
  const stored = new Map<string, number>()
  for (const copy of copies.flat()) {
    const destination = 'queue' in copy ? copy.queue : copy.topic
    if (!copy.duplicate) stored.set(destination, (stored.get(destination) ?? 0) + 1)
  }
  return storedIn(stored)
}

export const engineRules: Rules<Engine> = {
  open: ofAll,
  close: ofAll,
  createQueue: ofOne,
  dropQueue: ofOne,
  describe: ofAll,
  configure: ofOne,
  purgeQueue: ofOne,
  stats: ofOne,
  send: rule('send', 'send', countStored, sending(1)),
  bind: ofAll,
  unbind: ofAll,
  bindings: ofAll,
  publish: rule('send', 'publish', countCopies, sending(0), false),
  claim: tallied(
    rule(
      'receive',
      'receive',
      ({ messages }: Claim) => counted(messages.length),
      receiving(
        ({ messages }: Claim) => messages,
        (_queue: string, { held }: ClaimRequest) => held === true,
      ),
    ),
    (tallies, { messages }: Claim, [queue, request]) => {
      // What is held is told of when its handler begins.
      if ((request as ClaimRequest).held !== true) tallies.handed(queue as string, messages)
    },
  ),
  pop: tallied(
    rule(
      'receive',
      'pop',
      (messages: StoredMessage[]) => counted(messages.length),
      receiving((messages: StoredMessage[]) => messages),
    ),
    (tallies, messages: StoredMessage[], [queue]) => tallies.popped(queue as string, messages),
  ),
  peek: ofOne,
  settle: tallied(
    rule('settle', 'settle', (all: SettleResult[]) => counted(all.filter(({ settled }) => settled).length), settling),
    (tallies, results: SettleResult[], [queue, settlements]) =>
      tallies.settled(queue as string, settlements as Settlement[], results),
  ),
  extend: rule('settle', 'extend', (all: (string | null)[]) => counted(all.filter((one) => one !== null).length)),
  cancel: rule('settle', 'cancel', (all: readonly unknown[]) => counted(all.filter(Boolean).length)),
  makeReady: rule('settle', 'makeReady', (all: boolean[]) => counted(all.filter(Boolean).length)),
  correlation: ofAll,
  transaction: ofAll,
  listen: ofAll,
  processes: ofAll,
  maintain: ofAll,
  diagnose: ofAll,
}

export const topicRules: Rules<TopicStore> = {
  createTopic: ofOne,
  dropTopic: ofOne,
  listTopics: ofAll,
  append: rule('send', 'publish', countStored, sending(1)),
  read: rule('receive', 'receive', (messages: TopicMessage[]) => counted(messages.length)),
  subscribe: ofOne,
  unsubscribe: ofOne,
  subscriptions: ofOne,
  hold: ofOne,
  leave: ofOne,
  ack: rule('settle', 'ack', () => nothing),
  seek: ofOne,
  planSeek: ofOne,
}

/** Occurrences that are sent begin a trace: what declared the schedule is long over. */
const firing: Trace = async (tracer, operation, args, call) => {
  const sending = args[2] as Sending | undefined
  if (sending === undefined) return call(...args)
  const { target, messages } = sending
  const destination = 'queue' in target ? target.queue : 'topic' in target ? target.topic : null
  const send = { ...operation, name: 'send', type: 'send', destination } as const
  const [stored] = await tracer.send(send, messages, async (traced) => [
    await call(...args.with(2, { ...sending, messages: traced })),
  ])
  return stored
}

export const scheduleRules: Rules<ScheduleStore> = {
  put: (name) => ({ ...ofAll(name), trace: firing }),
  remove: ofAll,
  list: ofAll,
}

export const historyRules: Rules<HistoryStore> = { read: ofAll }

export const historyWriterRules: Rules<HistoryWriter> = { begin: ofAll, note: ofAll, end: ofAll, add: ofAll }
