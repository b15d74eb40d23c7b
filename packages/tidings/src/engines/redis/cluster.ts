import type { Command } from './calling.ts'
import type { Unsent as UnsentError } from './errors.ts'
import { happenedAt, Lost, replyCode, Unsent } from './errors.ts'
import type { SendingOnce, Server } from './server.ts'
import { slotOf } from './slots.ts'
import { type Address, describeAddress } from './target.ts'

/** Knows which server has a key. */
export interface Topology {
  readonly isCluster: boolean
  /** @throws Unsent, Lost, or the error that the server replied */
  call(key: string, command: Command, options: SendingOnce): Promise<unknown>
  /** @throws Unsent if no server is known for the key at this moment */
  serverOf(key: string): Server
  /** All servers that have keys. */
  servers(): readonly Server[]
  /** Looks where the keys are now. */
  refresh(): Promise<void>
  close(): void
}

export class SingleServer implements Topology {
  readonly isCluster = false
  readonly #server: Server

  constructor(server: Server) {
    this.#server = server
  }

  async call(_key: string, command: Command, options: SendingOnce): Promise<unknown> {
    try {
      return await this.#server.call(command, options)
    } catch (error) {
      // The server is a replica now. Its name may lead to the new primary.
      if (replyCode(error) === 'READONLY') this.#server.disconnect()
      throw error
    }
  }

  serverOf(): Server {
    return this.#server
  }

  servers(): readonly Server[] {
    return [this.#server]
  }

  async refresh(): Promise<void> {}

  close(): void {
    this.#server.close()
  }
}

const mostRedirections = 8
const slotsTimeoutMs = 2_000

interface Range {
  readonly start: number
  readonly end: number
  readonly address: Address
}

/** The nodes of a Redis Cluster. */
export class Cluster implements Topology {
  readonly isCluster = true
  readonly #seeds: readonly Address[]
  readonly #newServer: (address: Address) => Server
  readonly #translate: (address: Address) => Address
  readonly #servers = new Map<string, Server>()
  /** The answer to `CLUSTER SLOTS`, and the redirections since, by slot. */
  #ranges: readonly Range[] = []
  readonly #moved = new Map<number, Address>()
  #refreshing: Promise<void> | undefined

  /** @param translate from the address that the Cluster tells to one that this process can reach */
  constructor(
    seeds: readonly Address[],
    newServer: (address: Address) => Server,
    translate: (address: Address) => Address = (address) => address,
  ) {
    this.#seeds = seeds
    this.#newServer = newServer
    this.#translate = translate
  }

  async call(key: string, command: Command, options: SendingOnce): Promise<unknown> {
    let server = this.serverOf(key)
    let asking = false
    for (let round = 0; ; round++) {
      try {
        return await server.call(command, options, asking)
      } catch (error) {
        const redirection = /^(MOVED|ASK) (\d+) (\S*):(\d+)/.exec(replyCode(error) ? (error as Error).message : '')
        if (!redirection || round === mostRedirections) {
          if (isSignOfChange(error)) await this.refresh().catch(() => {})
          throw happenedAt(server.where, error)
        }
        const [, kind, slot, host, port] = redirection
        const address = this.#translate({ host: host || hostOf(server), port: Number(port) })
        asking = kind === 'ASK'
        if (!asking) {
          this.#moved.set(Number(slot), address)
          void this.refresh().catch(() => {})
        }
        server = this.#at(address)
      }
    }
  }

  serverOf(key: string): Server {
    const slot = slotOf(key)
    const address =
      this.#moved.get(slot) ?? this.#ranges.find(({ start, end }) => start <= slot && slot <= end)?.address
    if (!address) throw new Unsent('no node of the Cluster has the key')
    return this.#at(address)
  }

  servers(): readonly Server[] {
    return [...new Set(this.#ranges.map(({ address }) => this.#at(address)))]
  }

  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #refresh(): Promise<void> {
    const known = [...this.#ranges.map(({ address }) => address), ...this.#seeds]
    const tried = new Set<Server>()
    let failure: unknown
    for (const server of known.map((address) => this.#at(address))) {
      if (tried.has(server)) continue
      tried.add(server)
      const before = new Map(this.#moved)
      try {
        const answer = await server.call(['CLUSTER', 'SLOTS'], { timeoutMs: slotsTimeoutMs })
        const ranges = toRanges(answer, hostOf(server), this.#translate)
        if (ranges.length === 0) throw new Unsent('the node knows of no slots')
        this.#ranges = ranges
        // Redirections that came after the question are newer than the answer.
        for (const [slot, address] of before) if (this.#moved.get(slot) === address) this.#moved.delete(slot)
        return this.#forgetOthers()
      } catch (error) {
        failure ??= error
      }
    }
    throw failure
  }

  /** Nodes that have gone, or that the node which was asked does not know yet: calls there go on. */
  #forgetOthers(): void {
    const known = [...this.#ranges.map(({ address }) => address), ...this.#moved.values(), ...this.#seeds]
    const kept = new Set(known.map(describeAddress))
    for (const [name, server] of this.#servers) {
      if (kept.has(name)) continue
      this.#servers.delete(name)
      server.leave()
    }
  }

  #at(address: Address): Server {
    const name = describeAddress(address)
    let server = this.#servers.get(name)
    if (!server) {
      server = this.#newServer(address)
      this.#servers.set(name, server)
    }
    return server
  }

  close(): void {
    for (const server of this.#servers.values()) server.close()
  }
}

const isSignOfChange = (error: unknown): error is UnsentError | Lost =>
  error instanceof Unsent || error instanceof Lost || ['READONLY', 'CLUSTERDOWN'].includes(replyCode(error))

const hostOf = (server: Server) => server.where.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')

/** The answer of `CLUSTER SLOTS`: start, end, and the nodes, the primary first. A node may not know its own name. */
function toRanges(answer: unknown, asked: string, translate: (address: Address) => Address): Range[] {
  return (answer as [number, number, [string | null, number]][]).map(([start, end, [host, port]]) => ({
    start,
    end,
    address: translate({ host: host || asked, port }),
  }))
}
