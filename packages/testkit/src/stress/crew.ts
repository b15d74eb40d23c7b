import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Role } from './actors/actor.ts'
import type { Orders } from './child.ts'
import type { HistoryFile } from './history.ts'
import type { Plan } from './plan.ts'
import type { Random } from './random.ts'

interface Member {
  readonly role: Role
  readonly name: string
  readonly process: ChildProcess
  readonly gone: Promise<unknown>
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

  start(role: Role): void {
    const name = `${role}-${++this.#count}`
    const child = fork(fileURLToPath(new URL('./child.js', import.meta.url)), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    const member = { role, name, process: child, gone: once(child, 'exit') }
    this.#members.add(member)
    void member.gone.then(() => this.#members.delete(member))
    const history = join(this.#folder, `${name}.jsonl`)
    child.send({ role, name, url: this.#url, plan: this.#plan, history } satisfies Orders)
  }

  /** Kills a random process and starts another one of its role. */
  async killOne(random: Random): Promise<void> {
    const member = random.pick([...this.#members])
    this.#history.tell({ event: 'killing', target: member.name })
    member.process.kill('SIGKILL')
    await member.gone
    this.start(member.role)
  }

  /** Asks all processes of a role to finish their current messages, and waits for their end. */
  async stop(role: Role): Promise<void> {
    const members = [...this.#members].filter((one) => one.role === role)
    for (const { process: child } of members) if (child.connected) child.send('stop')
    await Promise.all(members.map(({ gone }) => gone))
  }

  /** Kills the remaining processes. */
  async end(): Promise<void> {
    for (const { process: child } of this.#members) child.kill('SIGKILL')
    await Promise.all([...this.#members].map(({ gone }) => gone))
  }

  get names(): string[] {
    return [...this.#members].map(({ name }) => name)
  }
}
