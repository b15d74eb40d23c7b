import { call, get, may, path, post } from '../api.ts'
import { askFor, doNow } from '../parts/dialog.tsx'
import type { Field } from '../parts/field.tsx'
import { laidOut } from '../parts/json.tsx'
import { go, toMessage, toQueue } from '../routes.ts'
import type { PlacedMessage, Queue } from '../wire.ts'
import { millisecondsIn, parsed } from './queue-actions.tsx'
import { askToRedrive } from './redrive.tsx'

interface Props {
  readonly queue: string
  readonly message: PlacedMessage
}

export function MessageActions({ queue, message }: Props) {
  const { id, state, meta } = message
  const origin = typeof meta.origin_queue === 'string' && meta.origin_queue !== queue ? meta.origin_queue : null
  const button = (label: string, act: () => unknown, danger = false) => (
    <button type="button" class={danger ? 'danger' : ''} onClick={() => void act()}>
      {label}
    </button>
  )
  return (
    <>
      {origin !== null && may('admin') && button('Redrive…', () => redrive(origin, id))}
      {may('receive') && (state === 'delayed' || state === 'ready') && button('Retry now', () => retryNow(queue, id))}
      {may('receive') && state === 'ready' && button('Delay…', () => askToDelay(queue, id))}
      {may('admin') && state === 'ready' && button('Move…', () => askToMove(queue, id))}
      {may('send') && button('Edit and send a copy…', () => askToCopy(queue, message))}
      {may('receive') && state === 'ready' && button('Archive', () => archive(queue, id))}
      {may('admin') &&
        state === 'ready' &&
        origin === null &&
        button('Dead-letter…', () => askToDeadLetter(queue, id), true)}
      {may('receive') && state === 'leased' && button('Cancel…', () => askToCancel(queue, id), true)}
      {may('receive') &&
        (state === 'ready' || state === 'delayed') &&
        button('Delete…', () => askToDelete(queue, id), true)}
    </>
  )
}

const redrive = (origin: string, id: string) =>
  askToRedrive(origin, { ids: [id], onDone: () => go(toQueue(origin, 'messages')) })

const retryNow = (queue: string, id: string) =>
  doNow(async () => {
    const { ready } = await post<{ ready: boolean[] }>(path`v1/queues/${queue}/retry`, { ids: [id] })
    if (!ready[0]) throw new Error('It is in hand, or has ended, by now.')
    return `Message ${id} is ready.`
  })

const lengthHint = 'Like 30s, 10 min or 2h.'

const askToDelay = (queue: string, id: string) =>
  askFor({
    verb: 'Delay',
    title: `Delay message ${id}`,
    body: 'No worker gets it before that time. It does not count as an attempt.',
    fields: [{ name: 'delay', label: 'For', kind: 'text', value: '10 min', required: true, hint: lengthHint }],
    async run({ delay }) {
      await post(path`v1/queues/${queue}/messages/${id}/vt`, { vt: millisecondsIn(delay) / 1_000 })
      return `Message ${id} waits.`
    },
  })

async function askToMove(queue: string, id: string) {
  const { queues } = await get<{ queues: Queue[] }>('v1/queues').catch(() => ({ queues: [] }))
  const offers = queues.map(({ queue_name }) => queue_name).filter((name) => name !== queue)
  askFor({
    verb: 'Move',
    title: `Move message ${id}`,
    body: 'In one step: it is in the one queue or in the other. It gets a new id there.',
    fields: [
      { name: 'to', label: 'To queue', kind: 'text', required: true, offers: offers.slice(0, 1_000) },
      { name: 'delay', label: 'Ready after', kind: 'text', hint: `${lengthHint} Left out: at once.` },
    ],
    async run({ to = '', delay }) {
      const target = to.trim()
      const body = { to: target, delay_ms: millisecondsIn(delay) }
      const { id: there } = await post<{ id: string | null }>(path`v1/queues/${queue}/messages/${id}/move`, body)
      go(there === null ? toQueue(target, 'messages') : toMessage(target, there))
      return `Message ${id} is in ${target}.`
    },
  })
}

const archive = (queue: string, id: string) =>
  doNow(async () => {
    await post(path`v1/queues/${queue}/messages/${id}/archive`)
    return `Message ${id} is in the archive.`
  })

const askToDeadLetter = (queue: string, id: string) =>
  askFor({
    verb: 'Dead-letter',
    title: `Dead-letter message ${id}`,
    danger: true,
    body: 'It ends as if it had failed too often. It can be redriven later.',
    fields: [{ name: 'reason', label: 'Reason', kind: 'text', required: true, hint: 'Stands as its error.' }],
    async run({ reason }) {
      const to = path`v1/queues/${queue}/messages/${id}/dead-letter`
      const letter = await post<{ queue: string | null; id: string | null }>(to, { reason })
      if (letter.queue !== null && letter.id !== null) go(toMessage(letter.queue, letter.id))
      return `Message ${id} is a dead letter.`
    },
  })

const askToCancel = (queue: string, id: string) =>
  askFor({
    verb: 'Cancel message',
    title: `Cancel message ${id}`,
    danger: true,
    body: 'Its handler is asked to stop. Once it has, the message is in the archive, as cancelled.',
    async run() {
      const { asked } = await post<{ asked: boolean[] }>(path`v1/queues/${queue}/cancel`, { ids: [id], running: true })
      return asked[0] ? `The handler of message ${id} was asked to stop.` : `Message ${id} is removed.`
    },
  })

const askToDelete = (queue: string, id: string) =>
  askFor({
    verb: 'Delete',
    title: `Delete message ${id}`,
    danger: true,
    body: 'The message is removed for good; nothing of it stays in the archive.',
    async run() {
      await call('DELETE', path`v1/queues/${queue}/messages/${id}`)
      go(toQueue(queue, 'messages'))
      return `Message ${id} is removed.`
    },
  })

/** Changed data travel as values, in which a browser would round such a number. */
const tooLarge = /(?<![\w."-])-?\d{16,}(?![\w."])/

function askToCopy(queue: string, { id, data, headers, priority }: PlacedMessage): void {
  const before = { data: laidOut(data), headers: headers ? JSON.stringify(headers) : '{}', priority: String(priority) }
  const fields: readonly Field[] = [
    { name: 'to', label: 'Queue', kind: 'text', value: queue, required: true },
    { name: 'data', label: 'Data (JSON)', kind: 'json', value: before.data, required: true },
    { name: 'headers', label: 'Headers (JSON)', kind: 'text', value: before.headers },
    { name: 'priority', label: 'Priority', kind: 'number', value: before.priority },
    { name: 'delay', label: 'Delay', kind: 'text', hint: `${lengthHint} Left out: none.` },
  ]
  askFor({
    verb: 'Send copy',
    title: 'Edit and send a copy',
    body: 'The original stays as it is. What is left as it was is copied as it is stored.',
    fields,
    async run({ to = '', data: text = '', headers: heads, priority: rank, delay }) {
      if (text !== before.data && tooLarge.test(text))
        throw new Error('A number in the data has more digits than a browser keeps. Send it by the command line.')
      const changed = {
        ...(text === before.data ? {} : { message: parsed(text, 'The data') }),
        ...(heads === before.headers ? {} : { headers: parsed(heads, 'What stands in headers') }),
        ...(rank === before.priority ? {} : { priority: Number(rank) }),
      }
      const body = { to: to.trim(), delay_ms: millisecondsIn(delay), ...changed }
      const sent = await post<{ queue: string; id: string }>(path`v1/queues/${queue}/messages/${id}/copy`, body)
      go(toMessage(sent.queue, sent.id))
      return `Sent to ${sent.queue} as message ${sent.id}.`
    },
  })
}
