// The processes of the applications that are measured, and calls to them.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('client.mjs', import.meta.url))

export class Process {
  #child = fork(program, { serialization: 'advanced', execArgv: [] })
  #waiting = new Map()
  #next = 0

  constructor() {
    this.#child.on('message', ({ number, result, error }) => {
      const { resolve, reject } = this.#waiting.get(number)
      this.#waiting.delete(number)
      if (error === undefined) resolve(result)
      else reject(new Error(error))
    })
    // What cannot be told to a process that has just ended is answered by its exit.
    this.#child.on('error', () => {})
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the process ended: ${signal ?? code}`))
    })
  }

  get alive() {
    return this.#child.connected && this.#child.exitCode === null && this.#child.signalCode === null
  }

  call(call, args) {
    if (!this.alive) return Promise.reject(new Error('the process has ended'))
    const number = this.#next++
    const { promise, resolve, reject } = Promise.withResolvers()
    this.#waiting.set(number, { resolve, reject })
    this.#child.send({ number, call, args }, () => {})
    return promise
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    // It ends by that, unless it is stuck.
    if (this.#child.connected) this.#child.disconnect()
    const stuck = setTimeout(() => this.#child.kill('SIGKILL'), 5_000)
    await once(this.#child, 'exit')
    clearTimeout(stuck)
  }
}
