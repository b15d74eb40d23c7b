import type http from 'node:http'
import type { Socket } from 'node:net'

/** How long a connection is used again whose server does not say how long it keeps it. */
const usualMs = 25_000
/** The server may close it when its time is over, so that a request would get lost. */
const reserveMs = 1_000

/**
 * Sees to it that no request is sent on a connection that the server may have closed: a process that was busy reads only
 * later that it was.
 */
export class KeptConnections {
  readonly #agent: http.Agent
  readonly #goodUntil = new WeakMap<Socket, number>()
  #keptMs = usualMs

  constructor(agent: http.Agent) {
    this.#agent = agent
    agent.on('free', (socket: Socket) => this.#goodUntil.set(socket, performance.now() + this.#keptMs))
  }

  /** @param hint what the server says in the header Keep-Alive */
  answered(hint: string | string[] | undefined): void {
    const [, seconds] = /timeout=(\d+)/.exec(String(hint)) ?? []
    this.#keptMs = seconds === undefined ? usualMs : Math.max(0, Number(seconds) * 1_000 - reserveMs)
  }

  /** Before each request. */
  dropOld(): void {
    const now = performance.now()
    for (const socket of this.#free()) if ((this.#goodUntil.get(socket) ?? now) < now) socket.destroy()
  }

  dropAll(): void {
    for (const socket of this.#free()) socket.destroy()
  }

  #free(): Socket[] {
    return Object.values(this.#agent.freeSockets).flatMap((sockets) => sockets ?? [])
  }
}
