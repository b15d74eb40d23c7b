import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Role } from './actors/actor.ts'
import type { Orders, Signal } from './child.ts'
import type { HistoryFile } from './history.ts'
import type { Plan } from './plan.ts'
import type { Random } from './random.ts'

/** How long the workers may take until one of them makes a dead letter, at which it dies. */
const deadLetterMs = 1_000

interface Member {
  readonly role: Role
  readonly name: string
  readonly process: ChildProcess
  readonly gone: Promise<unknown>
  /** What its end means. */
  end: 'fault' | 'kill' | 'stop'
}

/** The processes of a run. */
export class Crew {
  readonly #url: string
  readonly #plan: Plan
  readonly #folder: string
  readonly #history: HistoryFile
  readonly #members = new Set<Member>()
  #count = 0

  /** @param folder for the histories of the processes */
  constructor(url: string, plan: Plan, folder: string, history: HistoryFile) {
    this.#url = url
    this.#plan = plan
    this.#folder = folder
    this.#history = history
  }

  /** @returns once it is at work, or has ended */
  async start(role: Role): Promise<void> {
    const name = `${role}-${++this.#count}`
    const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const member: Member = { role, name, process: child, gone: once(child, 'exit'), end: 'fault' }
    this.#members.add(member)
    void member.gone.then(() => {
      this.#members.delete(member)
      if (member.end === 'kill' && child.signalCode === 'SIGKILL') void this.start(role)
      else if (member.end !== 'stop') this.#tellEnd(member)
    })
    const history = join(this.#folder, `${name}.jsonl`)
    child.send({ role, name, url: this.#url, plan: this.#plan, history } satisfies Orders, () => {})
    await Promise.race([once(child, 'message'), member.gone])
  }

  #tellEnd({ role, name, process: child }: Member): void {
    const message = `${name} ended by itself: ${child.signalCode ?? child.exitCode}`
    this.#history.tell({ event: 'trouble', doing: `being a ${role}`, code: 'ended', message })
  }

  /** Kills a random process, a worker if possible while it makes a dead letter. Another one takes its place. */
  async killOne(random: Random): Promise<void> {
    if (this.#members.size === 0) return
    const member = random.pick([...this.#members])
    if (member.role === 'worker' && (await this.#awaitDeath())) return
    member.end = 'kill'
    this.#history.tell({ event: 'killing', target: member.name })
    member.process.kill('SIGKILL')
    await member.gone
  }

  /** @returns whether a worker has died at a dead letter. Another one may do so still, if it had begun with it. */
  async #awaitDeath(): Promise<boolean> {
    const workers = [...this.#members].filter(({ role }) => role === 'worker')
    for (const worker of workers) {
      worker.end = 'kill'
      send(worker, 'die at a dead letter')
    }
    await Promise.race([wait(deadLetterMs), ...workers.map(({ gone }) => gone)])
    for (const worker of workers) send(worker, 'live on')
    return workers.some((worker) => !this.#members.has(worker))
  }

  /** Asks all processes of a role to finish their current messages, and waits for their end. */
  async stop(role: Role): Promise<void> {
    const members = [...this.#members].filter((one) => one.role === role)
    for (const member of members) {
      member.end = 'stop'
      send(member, 'stop')
    }
    await Promise.all(members.map(({ gone }) => gone))
  }

  /** Kills the remaining processes. */
  async end(): Promise<void> {
    for (const member of this.#members) {
      member.end = 'stop'
      member.process.kill('SIGKILL')
    }
    await Promise.all([...this.#members].map(({ gone }) => gone))
  }
}

function send({ process: child }: Member, signal: Signal): void {
  // It may die meanwhile.
  if (child.connected) child.send(signal, () => {})
}
