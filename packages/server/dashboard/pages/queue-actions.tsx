import { call, path, post, session } from '../api.ts'
import { askFor, doNow } from '../parts/dialog.tsx'
import type { Field, Values } from '../parts/field.tsx'
import { counted, toMs } from '../parts/format.ts'
import { go, href } from '../routes.ts'
import type { QueueMetrics } from '../wire.ts'

const configure = (queue: string, settings: object) => post(path`v1/queues/${queue}/configure`, { settings })

/** A local time as the browser gives it, as the API takes it; null where none is given. */
export const toIso = (local: string | undefined) => (local ? new Date(local).toISOString() : null)

export const orNull = (text: string | undefined) => (text?.trim() ? text.trim() : null)

/** @throws with words for a person */
export function millisecondsIn(text: string | undefined): number {
  const ms = toMs(text || '0s')
  if (Number.isNaN(ms)) throw new Error(`“${text}” is no length of time. Write it like 30s, 10 min or 2h.`)
  return Math.round(ms)
}

export function askToPause(queue: string): void {
  askFor({
    verb: 'Pause',
    title: `Pause ${queue}`,
    body: 'From now on the queue hands out no messages, to no process. What is in hand goes on, and what is sent is stored.',
    fields: [
      { name: 'reason', label: 'Reason', kind: 'text', hint: 'For people who wonder. May be left out.' },
      { name: 'until', label: 'Until', kind: 'time', hint: 'Left out: until somebody resumes it.' },
    ],
    async run({ reason, until }) {
      const pause = { reason: orNull(reason), until: toIso(until), by: session.value?.who ?? null }
      await configure(queue, { pause })
      return `${queue} is paused.`
    },
  })
}

export const resume = (queue: string) =>
  doNow(async () => {
    await configure(queue, { pause: null })
    return `${queue} hands out messages again.`
  })

export function askToPurge(queue: string, { queue_length, is_estimate }: QueueMetrics): void {
  askFor({
    verb: 'Purge',
    title: `Purge ${queue}`,
    danger: true,
    typed: queue,
    body: (
      <>
        Removes{' '}
        <strong>
          {is_estimate && 'about '}
          {counted(queue_length, 'message')}
        </strong>{' '}
        for good, those in the hands of workers too. Archived messages stay.
      </>
    ),
    async run() {
      const { purged } = await post<{ purged: number }>(path`v1/queues/${queue}/purge`)
      return `Removed ${counted(purged, 'message')} from ${queue}.`
    },
  })
}

export function askToDrop(queue: string, { queue_length, archived, is_estimate }: QueueMetrics): void {
  askFor({
    verb: 'Drop',
    title: `Drop ${queue}`,
    danger: true,
    typed: queue,
    body: (
      <>
        Removes the queue, its{' '}
        <strong>
          {is_estimate && 'about '}
          {counted(queue_length, 'message')}
        </strong>{' '}
        and its <strong>{counted(archived, 'archived message')}</strong> for good, with its settings and bindings.
      </>
    ),
    async run() {
      await call('DELETE', path`v1/queues/${queue}`)
      go(href([]))
      return `${queue} is gone.`
    },
  })
}

export function askToCreate(): void {
  askFor({
    verb: 'Create',
    title: 'Create a queue',
    fields: [{ name: 'queue', label: 'Name', kind: 'text', required: true, hint: 'Letters, digits and underscores.' }],
    async run({ queue = '' }) {
      const { created } = await call<{ created: boolean }>('PUT', path`v1/queues/${queue.trim()}`)
      return created ? `${queue} is there now.` : `${queue} was there already.`
    },
  })
}

const messageFields: readonly Field[] = [
  { name: 'data', label: 'Data (JSON)', kind: 'json', value: '{\n  \n}', required: true },
  {
    name: 'headers',
    label: 'Headers (JSON)',
    kind: 'text',
    value: '',
    hint: 'Like {"tenant": "acme"}. May be left out.',
  },
  { name: 'orderingKey', label: 'Ordering key', kind: 'text' },
  { name: 'priority', label: 'Priority', kind: 'number', value: '0' },
  { name: 'delay', label: 'Delay', kind: 'text', hint: 'Like 30s, 10 min or 2h. Left out: none.' },
]

/** With this header the data travel as they were typed, so that no integer is rounded. */
const sendText = (queue: string, body: object) =>
  post<{ id: string; duplicate: boolean }>(path`v1/queues/${queue}/messages`, body, { exact: true })

export function parsed(text: string | undefined, what: string): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch (error) {
    throw new Error(`${what} is not JSON: ${(error as Error).message}`)
  }
}

function entryOf({ data, headers, orderingKey, priority, delay }: Values): object {
  parsed(data, 'The data')
  return {
    data,
    ...(headers?.trim() ? { headers: parsed(headers, 'What stands in headers') } : {}),
    ...(orNull(orderingKey) ? { ordering_key: orNull(orderingKey) } : {}),
    priority: Number(priority || 0),
    delay_ms: millisecondsIn(delay),
  }
}

export function askToSend(queue: string): void {
  askFor({
    verb: 'Send',
    title: `Send to ${queue}`,
    fields: messageFields,
    async run(values) {
      const { id } = await sendText(queue, entryOf(values))
      return `Sent to ${queue} as message ${id}.`
    },
  })
}
