import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { watchOn } from '../support/watch-on.ts'
import { message, newName } from './support.ts'

export const labelled = (label: string, fields = {}) => message({ data: JSON.stringify(label), ...fields })
export const numbers = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)

export interface Seen {
  readonly offset: number
  readonly label: string
}

export async function readAll({ topics }: PostgresEngine, topic: string, after = 0): Promise<Seen[]> {
  const seen: Seen[] = []
  for (;;) {
    const messages = await topics.read(topic, seen.at(-1)?.offset ?? after, 1_000)
    if (messages.length === 0) return seen
    seen.push(...messages.map(({ offset, data }) => ({ offset, label: JSON.parse(data) as string })))
  }
}

/** Reads and acknowledges as a consumer does, woken by the storage alone, until it has seen so many. */
export async function follow(engine: PostgresEngine, topic: string, name: string, total: number): Promise<Seen[]> {
  const seen: Seen[] = []
  let wake = () => {}
  const { topics } = engine
  const watch = await watchOn(engine, `topic:${topic}`, () => wake())
  const hold = await topics.hold(topic, name, newName('consumer'), 60_000)
  if (!hold.held) throw new Error('the subscription is held by somebody else')
  let { cursor } = hold
  while (seen.length < total) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve
    })
    const messages = await topics.read(topic, cursor, 500)
    if (messages.length === 0) {
      await woken
      continue
    }
    seen.push(...messages.map(({ offset, data }) => ({ offset, label: JSON.parse(data) as string })))
    cursor = messages.at(-1)!.offset
    if (!(await topics.ack(topic, name, cursor, hold.receipt))) throw new Error('the receipt is stale')
  }
  watch.close()
  return seen
}

/** What a publisher has in the log: its numbers, in the order of the offsets. */
export const numbersOf = (seen: readonly Seen[], publisher: string) =>
  seen.filter(({ label }) => label.startsWith(`${publisher}/`)).map(({ label }) => Number(label.split('/')[1]))
