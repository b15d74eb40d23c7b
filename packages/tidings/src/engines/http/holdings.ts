import { randomBytes } from 'node:crypto'
import { isTidingsError } from '../../core/errors.ts'
import type { ClaimRequest, Lease, StoredMessage } from '../../port/engine.ts'

/** More than this are not remembered; a server that starts anew takes the others for leases that nobody holds. */
const maxHeld = 100_000
const maxLost = 100

interface Answer {
  readonly messages: readonly { readonly id: string }[]
}

/**
 * What the server has to know of the leases of this process: whose they are, whether they end with it, and which claims
 * it has given up. A server of an older version is told nothing of it; leases end with their time there.
 */
export class Holdings {
  readonly #token = randomBytes(24).toString('base64url')
  #isKnown = false
  #names = 0
  /** The listenings that have 'life'. New leases belong to the last one. */
  readonly #lives = new Set<string>()
  /** The one by which claims are known that belong to nobody, so that a lost one can be told of in the next. */
  #lastName: string | undefined
  #claims = 0
  #extensions = 0
  /** For each queue the claims whose answers never came. */
  readonly #lost = new Map<string, number[]>()
  /** For each message that is held, whether it was read ahead. */
  readonly #held = new Map<string, boolean>()

  /** Whether the server knows of holders. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  learned(isKnown = false): void {
    this.#isKnown = isKnown
  }

  /** For a listening; nobody else can guess it. */
  newName(): string {
    return `${this.#token}-${++this.#names}`
  }

  began(name: string): void {
    this.#lives.add(name)
    this.#lastName = name
  }

  ended(name: string): void {
    this.#lives.delete(name)
  }

  /** Asks for messages, with what has to be told of this process. */
  async claim<A extends Answer>(
    queue: string,
    { limit, held: isAsked = false, ahead = 0, maxBytes }: ClaimRequest,
    ask: (fields: object) => Promise<A>,
  ): Promise<A> {
    const held = isAsked && this.#lives.size > 0
    const holder = this.#name ?? this.#lastName ?? this.#token
    const claim = ++this.#claims
    const key = keyOf(holder, queue)
    const lost = this.#lost.get(key) ?? []
    const told = { holder, claim, lost_claims: lost, held, ahead: held ? ahead : 0, max_bytes: maxBytes }
    try {
      const answer = await this.telling(told, ask)
      const left = (this.#lost.get(key) ?? []).filter((number) => !lost.includes(number))
      if (left.length > 0) this.#lost.set(key, left)
      else this.#lost.delete(key)
      this.#claimed(queue, answer.messages, held ? limit - ahead : null)
      return answer
    } catch (error) {
      // Whatever it failed with in the end: an earlier attempt may have been carried out.
      if (isTidingsError(error) && error.retryable)
        this.#lost.set(key, [...(this.#lost.get(key) ?? []), claim].slice(-maxLost))
      throw error
    }
  }

  /** @param begun how many are begun at once; null: they are not held */
  #claimed(queue: string, messages: Answer['messages'], begun: number | null): void {
    for (const [index, { id }] of messages.entries()) {
      const key = keyOf(queue, id)
      this.#held.delete(key)
      if (begun !== null) this.#held.set(key, index >= begun)
    }
    for (const key of this.#held.keys()) {
      if (this.#held.size <= maxHeld) return
      this.#held.delete(key)
    }
  }

  /** Asks to extend leases, so that a server that has not given them out learns whose they are. */
  extending<A>(
    queue: string,
    leases: readonly Lease[],
    ask: (leases: readonly object[], fields: object) => Promise<A>,
  ): Promise<A> {
    const plain = leases.map(({ id, receipt, cancelled }) => ({ id, receipt, ...(cancelled ? { cancelled } : null) }))
    const holder = this.#name
    if (holder === undefined) return ask(plain, {})
    const told = plain.map((lease) => {
      const ahead = this.#held.get(keyOf(queue, lease.id))
      return ahead === undefined ? lease : { ...lease, held: true, ahead }
    })
    const extension = ++this.#extensions
    return this.telling({ holder, extension }, (fields) => ask('holder' in fields ? told : plain, fields))
  }

  settled(queue: string, leases: readonly Pick<StoredMessage, 'id'>[]): void {
    for (const { id } of leases) this.#held.delete(keyOf(queue, id))
  }

  /** Asks to hold a subscription. */
  holding<A>(held: boolean, ask: (fields: object) => Promise<A>): Promise<A> {
    return held && this.#name !== undefined ? this.telling({ holder: this.#name }, ask) : ask({})
  }

  /** Says it to a server that knows of holders only. */
  async telling<A>(told: object, ask: (fields: object) => Promise<A>): Promise<A> {
    if (!this.#isKnown) return ask({})
    try {
      return await ask(told)
    } catch (error) {
      // A server of an older version has taken its place.
      if (!isTidingsError(error, 'OPTION_UNKNOWN')) throw error
      this.#isKnown = false
      return ask({})
    }
  }

  get #name(): string | undefined {
    return [...this.#lives].at(-1)
  }
}

/** No name has a slash. */
const keyOf = (one: string, other: string) => `${one}/${other}`
