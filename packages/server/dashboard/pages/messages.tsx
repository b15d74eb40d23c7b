import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, asError, ask, may, path, post } from '../api.ts'
import { useHeld, useLive } from '../live.ts'
import { askFor, doNow } from '../parts/dialog.tsx'
import { about, compact, counted } from '../parts/format.ts'
import { Empty, Failure } from '../parts/notice.tsx'
import { Badge, Page, Tabs } from '../parts/page.tsx'
import { Line, Shown } from '../parts/shown.tsx'
import { Chooser, type Column, Paging, Table } from '../parts/table.tsx'
import { None, Time } from '../parts/time.tsx'
import { changeQuery, href, place, toMessage } from '../routes.ts'
import type { Message, MessagePage, MessageState, QueueMetrics } from '../wire.ts'
import { aboveQueue, QueueTabs, useQueue } from './queue.tsx'
import { askToSend } from './queue-actions.tsx'
import { parseSearch, requestOf, type Search, searchHelp } from './search.ts'

export const pageSize = 50

/** Where only a part was looked at, it is told how far, also where nothing was found. */
interface Found extends MessagePage {
  readonly after?: string | null
  readonly scanned?: number
}

function nextOf(page: Found): string | null {
  if (page.after !== undefined) return page.after
  return mayFollow(page) ? (page.messages.at(-1)?.id ?? null) : null
}

/** A full page, or one that was cut by its size, may have a next one. */
export const mayFollow = (page: MessagePage | null) => page !== null && (page.more || page.messages.length >= pageSize)

const states: readonly (readonly [MessageState, string, (figures: QueueMetrics) => string])[] = [
  ['ready', 'Ready', (figures) => about(figures.ready, figures)],
  ['leased', 'In hand', ({ leased }) => compact(leased)],
  ['delayed', 'Delayed', ({ delayed }) => compact(delayed)],
  ['archived', 'Archived', ({ archived }) => compact(archived)],
]

export function Messages({ queue }: { queue: string }) {
  const { query } = place.value
  const state = states.find(([name]) => name === query.get('state'))?.[0] ?? null
  const text = query.get('q') ?? ''
  const after = query.get('after')
  const figures = useQueue(queue)
  const search = tried(() => parseSearch(text))
  const list = `messages/${queue}/${state}/${after}/${text}`
  const found = useLive(search instanceof ApiError ? null : list, (signal) => {
    const { route, body } = requestOf(search as Search, state, after, pageSize)
    return ask<Found>(`${path`v1/queues/${queue}`}/${route}`, body, signal)
  })
  const held = useHeld(list, found.data?.messages ?? null, ({ id }) => id)
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const error = search instanceof ApiError ? search : found.error
  const next = found.data && nextOf(found.data)
  // The field that is typed into stays, while another search is under way.
  const isOpen = useRef(false)
  isOpen.current ||= found.data !== null || error !== null
  const view = (change: object) => href(['queues', queue, 'messages'], { q: text, ...change })
  return (
    <Page
      name="messages"
      title="Messages"
      above={aboveQueue(queue)}
      isLoaded={isOpen.current}
      error={figures.error}
      actions={
        may('send') && (
          <button type="button" onClick={() => askToSend(queue)}>
            Send…
          </button>
        )
      }
    >
      <QueueTabs queue={queue} figures={figures.data} />
      <div class="list-head">
        <SearchField text={text} />
        <Tabs
          label="States"
          of={[
            { label: 'All', to: view({}), isHere: state === null },
            ...states.map(([name, label, of]) => ({
              label,
              to: view({ state: name }),
              isHere: state === name,
              count: figures.data ? of(figures.data) : undefined,
            })),
          ]}
        />
      </div>
      {error && <Failure error={error} />}
      {chosen.size > 0 && <Chosen queue={queue} ids={[...chosen]} onDone={() => setChosen(new Set())} />}
      {found.data === null && !error ? (
        <p class="waiting">Searching…</p>
      ) : held.rows.length === 0 && !error ? (
        <NoMessages queue={queue} isSearch={text !== '' || state !== null || after !== null} goesOn={next !== null} />
      ) : (
        <Table
          label="Messages"
          rows={held}
          keyOf={({ id }) => id}
          columns={[
            ...(may('receive') && state !== 'archived' ? [Chooser(held.rows, chosen, setChosen)] : []),
            ...columns(queue, state),
          ]}
        />
      )}
      {found.data && (next !== null || after !== null || held.rows.length > 0) && (
        <Paging
          shown={held.rows.length}
          noun="message"
          beside={found.data.scanned === undefined ? undefined : `${counted(found.data.scanned, 'message')} looked at`}
          first={after === null ? null : () => changeQuery({ after: null })}
          next={next === null ? null : () => changeQuery({ after: next })}
        />
      )}
    </Page>
  )
}

function tried<T>(parse: () => T): T | ApiError {
  try {
    return parse()
  } catch (error) {
    return asError(error)
  }
}

function SearchField({ text }: { text: string }) {
  const [typed, setTyped] = useState(text)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (document.activeElement !== field.current) setTyped(text)
  }, [text])
  // Asked for once the person pauses.
  useEffect(() => {
    const timer = setTimeout(() => {
      if (typed !== (place.value.query.get('q') ?? '')) changeQuery({ q: typed, after: null }, { replace: true })
    }, 300)
    return () => clearTimeout(timer)
  }, [typed])
  return (
    <input
      ref={field}
      type="search"
      aria-label="Search messages"
      title={searchHelp}
      placeholder="Words, id, error:…, data.field:…"
      spellcheck={false}
      value={typed}
      onInput={(event) => setTyped(event.currentTarget.value)}
    />
  )
}

const NoMessages = ({ queue, isSearch, goesOn }: { queue: string; isSearch: boolean; goesOn: boolean }) =>
  isSearch ? (
    <Empty>{goesOn ? 'None of those that were looked at so far is like this.' : 'No message is like this.'}</Empty>
  ) : (
    <Empty command={`npx tidings enqueue ${queue} '{"orderId": 7}'`}>The queue is empty. This sends a message:</Empty>
  )

const tones = { ready: 'ready', leased: 'hand', delayed: 'wait', archived: 'plain' } as const
const names = { ready: 'Ready', leased: 'In hand', delayed: 'Delayed', archived: 'Archived' } as const

export const StateBadge = ({ state }: { state: MessageState }) => <Badge tone={tones[state]}>{names[state]}</Badge>

const columns = (queue: string, state: MessageState | null): Column<Message>[] => [
  {
    name: 'id',
    label: 'Message',
    cell: ({ id }) => (
      <a class="id" href={toMessage(queue, id)} title={id}>
        {id}
      </a>
    ),
  },
  {
    name: 'data',
    label: 'Data',
    grows: true,
    cell: ({ data, meta }) => (
      <>
        <code class="preview">
          <Line text={data} />
        </code>
        {typeof meta.error_message === 'string' && (
          <span class="preview bad">
            <Line text={meta.error_message} />
          </span>
        )}
      </>
    ),
  },
  {
    name: 'key',
    label: 'Key',
    goes: 1,
    cell: ({ group, ordering_key }) => {
      const key = group ?? ordering_key
      return key === null ? (
        <None />
      ) : (
        <span class="key">
          <Shown text={key} />
        </span>
      )
    },
  },
  {
    name: 'tries',
    label: 'Reads',
    isNumber: true,
    goes: 2,
    cell: ({ read_ct }) => (read_ct === 0 ? <None /> : read_ct),
  },
  { name: 'sent', label: 'Sent', isNumber: true, cell: ({ enqueued_at }) => <Time at={enqueued_at} past /> },
  ...(state === 'archived'
    ? [
        {
          name: 'until',
          label: 'Archived',
          isNumber: true,
          goes: 3,
          cell: ({ archived_at }: Message) => archived_at && <Time at={archived_at} past />,
        } as const,
      ]
    : [
        {
          name: 'until',
          label: state === 'leased' ? 'Leased until' : 'Ready',
          isNumber: true,
          goes: 3,
          cell: ({ vt }: Message) => <Time at={vt} />,
        } as const,
      ]),
]

function Chosen({ queue, ids, onDone }: { queue: string; ids: readonly string[]; onDone: () => void }) {
  const retry = () =>
    doNow(async () => {
      const { ready } = await post<{ ready: boolean[] }>(path`v1/queues/${queue}/retry`, { ids })
      onDone()
      return `${counted(ready.filter(Boolean).length, 'message')} ready.`
    })
  const cancel = () =>
    askFor({
      verb: 'Cancel messages',
      title: `Cancel ${counted(ids.length, 'message')} of ${queue}`,
      danger: true,
      body: 'Those that nobody has in hand are removed for good. Handlers of those in hand are asked to stop; once they have, these are in the archive, as cancelled.',
      async run() {
        const { cancelled, asked } = await post<{ cancelled: boolean[]; asked: boolean[] }>(
          path`v1/queues/${queue}/cancel`,
          { ids, running: true },
        )
        onDone()
        return `${counted(cancelled.filter(Boolean).length, 'message')} removed, ${asked.filter(Boolean).length} asked to stop.`
      },
    })
  return (
    <div class="chosen" role="status">
      {counted(ids.length, 'message')} chosen
      <button type="button" onClick={retry}>
        Retry now
      </button>
      <button type="button" class="danger" onClick={cancel}>
        Cancel…
      </button>
      <button type="button" class="quiet" onClick={onDone}>
        Choose none
      </button>
    </div>
  )
}
