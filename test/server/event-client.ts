import { request } from 'node:http'
import { onTestFinished } from 'vitest'

/** Server-sent events on a connection of its own. */
export class EventClient {
  readonly ended: Promise<void>
  readonly destroy: () => void
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  readonly #events: { event: string; data: any }[] = []
  #seen = () => {}
  #isOver = false

  static open(
    server: { readonly url: string },
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<EventClient> {
    return new Promise((resolve, reject) => {
      const asked = request(server.url + path, { agent: false, headers }, (answer) => {
        if (answer.statusCode !== 200) return reject(new Error(`${path} answered ${answer.statusCode}`))
        resolve(new EventClient(answer))
      })
      asked.on('error', reject)
      asked.end()
    })
  }

  private constructor(answer: import('node:http').IncomingMessage) {
    this.destroy = () => answer.destroy()
    onTestFinished(this.destroy)
    let text = ''
    answer.on('error', () => {})
    answer.on('data', (chunk: Buffer) => {
      text += String(chunk)
      const blocks = text.split('\n\n')
      text = blocks.pop()!
      for (const block of blocks) this.#take(block)
    })
    this.ended = new Promise((resolve) => {
      answer.on('close', () => {
        this.#isOver = true
        this.#seen()
        resolve()
      })
    })
  }

  #take(block: string): void {
    const [, event, data] = /^event: (.*)\ndata: (.*)$/s.exec(block) ?? []
    if (event !== undefined) this.#events.push({ event, data: JSON.parse(data!) })
    this.#seen()
  }

  /** The data of the next event, which must have this name. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  async next(event: string): Promise<any> {
    const next = await this.#shift(event)
    if (next.event !== event) throw new Error(`'${next.event}' instead of '${event}': ${JSON.stringify(next.data)}`)
    return next.data
  }

  /** The data of the next event of this name, whatever comes before it. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  async until(event: string): Promise<any> {
    for (;;) {
      const next = await this.#shift(event)
      if (next.event === event) return next.data
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  async #shift(wanted: string): Promise<{ event: string; data: any }> {
    while (this.#events.length === 0) {
      if (this.#isOver) throw new Error(`the stream ended without '${wanted}'`)
      await new Promise<void>((resolve) => {
        this.#seen = resolve
      })
    }
    return this.#events.shift()!
  }
}
