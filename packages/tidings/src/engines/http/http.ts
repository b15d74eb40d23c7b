import { isTidingsError } from '../../core/errors.ts'
import type { JsonObject } from '../../core/json.ts'
import type {
  Binding,
  Cancelled,
  Claim,
  ClaimRequest,
  CorrelationState,
  Engine,
  Feature,
  Finding,
  Lease,
  MaintainRequest,
  NewMessage,
  Peeked,
  PeekRequest,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  RoutedMessage,
  Rule,
  SendResult,
  SendTerms,
  Settlement,
  SettleResult,
  StatsOptions,
  StoredMessage,
  Transaction,
} from '../../port/engine.ts'
import { type Limits, usualLimits } from '../../port/limits.ts'
import type { Listener, Listening } from '../../port/listening.ts'
import type { ProcessInfo } from '../../port/processes.ts'
import type { TopicStore } from '../../port/topic-store.ts'
import {
  fromWireBinding,
  fromWireCorrelation,
  fromWireMessage,
  fromWireProcess,
  fromWireQueue,
  fromWireSettleResult,
  fromWireStats,
  toWireEntry,
  toWireSettlement,
  type WireBinding,
  type WireCopy,
  type WireCorrelation,
  type WireMessage,
  type WireProcess,
  type WireQueue,
  type WireServer,
  type WireSettleResult,
  type WireStats,
} from '../../protocol/messages.ts'
import { Client } from './client.ts'
import { refuseTransaction, unsupported } from './failures.ts'
import { HttpHistory } from './history.ts'
import { Holdings } from './holdings.ts'
import { HttpListening } from './listening.ts'
import { readAll, type WirePage } from './pages.ts'
import { HttpSchedules } from './schedules.ts'
import type { HttpTarget } from './target.ts'
import { HttpTopics } from './topics.ts'

/** A worker's requests are small; one to which no byte has come for this long is on a dead connection. */
const promptMs = 10_000

/** Queues and topics of another Tidings, which `tidings serve` offers over HTTP. */
export class HttpEngine implements Engine {
  readonly name = 'http'
  readonly schedules: HttpSchedules
  readonly history: HttpHistory
  readonly #client: Client
  readonly #holdings = new Holdings()
  #supports: ReadonlySet<Feature> = new Set()
  #topics: TopicStore | undefined
  readonly #listenings = new Set<HttpListening>()

  /** @throws URL_INVALID, OPTION_CONFLICT */
  constructor(target: HttpTarget) {
    this.#client = new Client(target)
    this.schedules = new HttpSchedules(this.#client)
    this.history = new HttpHistory(this.#client)
  }

  /** What the server said when it was asked. */
  get supports(): ReadonlySet<Feature> {
    return this.#supports
  }

  /** A text may take twice its size in JSON. */
  get limits(): Limits {
    return { ...usualLimits, bytes: Math.min(usualLimits.bytes, Math.floor(this.#client.maxBodyBytes / 2) - 1_024) }
  }

  get topics(): TopicStore | undefined {
    return this.#topics
  }

  async open(): Promise<void> {
    const { supports, max_body_bytes, holders } = await this.#read<WireServer>('GET', '/v1')
    this.#client.opened(max_body_bytes)
    this.#holdings.learned(holders)
    this.#supports = new Set(supports)
    if (this.#supports.has('topics')) this.#topics = new HttpTopics(this.#client, this.#holdings)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listenings].map((listening) => listening.close()))
    await this.#client.close()
  }

  async createQueue(queue: string): Promise<boolean> {
    return (await this.#read<{ created: boolean }>('PUT', of(queue))).created
  }

  async dropQueue(queue: string): Promise<boolean> {
    try {
      await this.#read('DELETE', of(queue))
      return true
    } catch (error) {
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return false
      throw error
    }
  }

  async describe(queue: string | null): Promise<QueueInfo[]> {
    if (queue !== null) return [fromWireQueue(await this.#read<WireQueue>('GET', of(queue)))]
    return (await this.#read<{ queues: WireQueue[] }>('GET', '/v1/queues?internal=true')).queues.map(fromWireQueue)
  }

  async configure(queue: string, change: JsonObject): Promise<JsonObject> {
    return (await this.#read<{ settings: JsonObject }>('POST', `${of(queue)}/configure`, { settings: change })).settings
  }

  async purgeQueue(queue: string): Promise<number> {
    return (await this.#write<{ purged: number }>('POST', `${of(queue)}/purge`, {})).purged
  }

  async stats(queue: string, { upTo }: StatsOptions = {}): Promise<QueueStats> {
    const query = upTo === undefined ? '' : `?up_to=${upTo}`
    return fromWireStats(await this.#read<WireStats>('GET', `${of(queue)}/metrics${query}`))
  }

  async send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    terms?: SendTerms,
  ): Promise<SendResult[]> {
    refuseTransaction(transaction)
    if (messages.length === 0) return []
    const body = { entries: messages.map(toWireEntry), max_length: terms?.maxLength, durability: terms?.durability }
    return (await this.#write<{ results: SendResult[] }>('POST', `${of(queue)}/messages/batch`, body)).results
  }

  async bind(rule: Rule): Promise<boolean> {
    return (await this.#read<{ bound: boolean }>('PUT', pathOf(rule))).bound
  }

  async unbind(rule: Rule): Promise<boolean> {
    return (await this.#read<{ unbound: boolean }>('DELETE', pathOf(rule))).unbound
  }

  async bindings(queue: string | null): Promise<Binding[]> {
    const path = queue === null ? '/v1/bindings' : `${of(queue)}/bindings`
    return (await this.#read<{ bindings: WireBinding[] }>('GET', path)).bindings.map(fromWireBinding)
  }

  async publish(messages: readonly RoutedMessage[], transaction: Transaction | null): Promise<PublishedCopy[][]> {
    refuseTransaction(transaction)
    if (messages.length === 0) return []
    const entries = messages.map((one) => ({ routing_key: one.routingKey, ...toWireEntry(one) }))
    return (await this.#write<{ results: WireCopy[][] }>('POST', '/v1/publish', { entries })).results
  }

  async claim(queue: string, request: ClaimRequest): Promise<Claim> {
    const { limit, leaseMs, ids } = request
    if (ids?.length === 0) return { messages: [], nextDueMs: null }
    const body = { qty: limit, lease_ms: leaseMs, ids }
    const answer = await this.#holdings.claim(queue, request, (told) =>
      this.#prompt<{ messages: WireMessage[]; next_due_ms: number | null; held_back?: boolean }>(`${of(queue)}/read`, {
        ...body,
        ...told,
      }),
    )
    return {
      messages: answer.messages.map(fromWireMessage),
      nextDueMs: answer.next_due_ms,
      ...(answer.held_back ? { heldBack: true } : {}),
    }
  }

  async pop(queue: string, limit: number): Promise<StoredMessage[]> {
    const answer = await this.#write<{ messages: WireMessage[] }>('POST', `${of(queue)}/pop`, { qty: limit })
    return answer.messages.map(fromWireMessage)
  }

  async peek(queue: string, { place, limit, afterId, ids, dedupId, meta, scan }: PeekRequest): Promise<Peeked> {
    if (ids?.length === 0) return []
    let after: string | undefined
    const found = await readAll<StoredMessage>(limit, async (count, last) => {
      const body = { place, limit: count, after: last?.id ?? afterId, ids, dedup_id: dedupId, meta, scan }
      const page = await this.#read<WirePage<WireMessage> & { after?: string }>('POST', `${of(queue)}/peek`, body)
      after = page.after
      return { messages: page.messages.map(fromWireMessage), more: page.more }
    })
    return after === undefined ? found : Object.assign(found, { after })
  }

  async settle(queue: string, settlements: readonly Settlement[], transaction?: Transaction): Promise<SettleResult[]> {
    refuseTransaction(transaction ?? null)
    if (settlements.length === 0) return []
    const body = { settlements: settlements.map(toWireSettlement) }
    const answer = await this.#write<{ results: WireSettleResult[] }>('POST', `${of(queue)}/settle`, body)
    this.#holdings.settled(queue, settlements)
    return answer.results.map(fromWireSettleResult)
  }

  async extend(queue: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    if (leases.length === 0) return []
    const answer = await this.#holdings.extending(queue, leases, (told, fields) =>
      this.#prompt<{ receipts: (string | null)[] }>(`${of(queue)}/extend`, {
        leases: told,
        lease_ms: leaseMs,
        ...fields,
      }),
    )
    return answer.receipts
  }

  async cancel(queue: string, ids: readonly string[], { running = false } = {}): Promise<Cancelled[]> {
    if (ids.length === 0) return []
    const body = running ? { ids, running } : { ids }
    const answer = await this.#write<{ cancelled: boolean[]; asked?: boolean[] }>('POST', `${of(queue)}/cancel`, body)
    return answer.cancelled.map((removed, index) => (removed ? 'removed' : answer.asked?.[index] ? 'asked' : null))
  }

  async makeReady(queue: string, ids: readonly string[]): Promise<boolean[]> {
    if (ids.length === 0) return []
    return (await this.#read<{ ready: boolean[] }>('POST', `${of(queue)}/retry`, { ids })).ready
  }

  async correlation(id: string): Promise<CorrelationState | null> {
    try {
      return fromWireCorrelation(await this.#read<WireCorrelation>('GET', `/v1/correlations/${encodeURIComponent(id)}`))
    } catch (error) {
      if (isTidingsError(error, 'CORRELATION_NOT_FOUND')) return null
      throw error
    }
  }

  transaction(): Promise<never> {
    return Promise.reject(unsupported())
  }

  async listen(listener: Listener): Promise<Listening> {
    this.#client.checkOpen()
    const dependencies = { client: this.#client, holdings: this.#holdings }
    const listening: HttpListening = new HttpListening(dependencies, listener, () => this.#listenings.delete(listening))
    this.#listenings.add(listening)
    return listening
  }

  async maintain(request: MaintainRequest): Promise<number> {
    if (request.kind === 'archive') {
      const { queue, archivedForMs, keep, limit } = request
      const body = { archived_for_ms: archivedForMs, keep, limit }
      return (await this.#write<{ pruned: number }>('POST', `${of(queue)}/prune`, body)).pruned
    }
    try {
      await this.#read('POST', '/v1/maintain', {})
    } catch (error) {
      // The server does it too, for those who may not ask for it.
      if (!isTidingsError(error, 'FORBIDDEN')) throw error
    }
    return 0
  }

  async processes(): Promise<ProcessInfo[]> {
    return (await this.#read<{ processes: WireProcess[] }>('GET', '/v1/processes')).processes.map(fromWireProcess)
  }

  async diagnose(): Promise<Finding[]> {
    return (await this.#read<{ findings: Finding[] }>('GET', '/v1/doctor')).findings
  }

  /** For what may be done twice without harm. */
  #read<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#client.request(method, path, body, { repeatable: true })
  }

  /** The same where an answer is expected soon. A claim whose answer got lost is given back by the server. */
  #prompt<T>(path: string, body: object): Promise<T> {
    return this.#client.request('POST', path, body, { repeatable: true, timeoutMs: promptMs })
  }

  /** For what must not be done twice: if the answer is lost, the outcome is unknown. */
  #write<T>(method: string, path: string, body: object): Promise<T> {
    return this.#client.request(method, path, body, { repeatable: false })
  }
}

const of = (queue: string) => `/v1/queues/${encodeURIComponent(queue)}`

function pathOf(rule: Rule): string {
  if (!('topic' in rule)) return `${of(rule.queue)}/bindings/${encodeURIComponent(rule.pattern)}`
  const topic = `/v1/topics/${encodeURIComponent(rule.topic)}`
  return 'pattern' in rule
    ? `${topic}/patterns/${encodeURIComponent(rule.pattern)}`
    : `${topic}/queues/${encodeURIComponent(rule.queue)}`
}
