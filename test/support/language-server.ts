import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'

const compiler = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url))

interface Answer {
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly items?: readonly unknown[] }
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

/** TypeScript as an editor asks it, by the Language Server Protocol. */
export class LanguageServer {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  #received = Buffer.alloc(0)
  #lastId = 0

  static async start(folder: string): Promise<LanguageServer> {
    const server = new LanguageServer(folder)
    await server.#request('initialize', {
      processId: process.pid,
      rootUri: pathToFileURL(folder).href,
      capabilities: { textDocument: { hover: { contentFormat: ['markdown'] } } },
    })
    server.#notify('initialized', {})
    return server
  }

  private constructor(cwd: string) {
    this.#process = spawn(process.execPath, [compiler, '--lsp', '--stdio'], { cwd })
    this.#process.stdout.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#process.once('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the language server ended with ${code}`))
    })
  }

  open(path: string, text: string): void {
    const uri = pathToFileURL(path).href
    this.#notify('textDocument/didOpen', { textDocument: { uri, languageId: 'typescript', version: 1, text } })
  }

  /** What an editor shows of what stands at this place, counted from 0. */
  async hover(path: string, line: number, character: number): Promise<string> {
    const position = { textDocument: { uri: pathToFileURL(path).href }, position: { line, character } }
    const result = (await this.#request('textDocument/hover', position)) as { contents: { value: string } } | null
    return result?.contents.value ?? ''
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('close', resolve))
    await this.#request('shutdown', undefined)
    this.#notify('exit', undefined)
    await ended
  }

  #request(method: string, params: unknown): Promise<unknown> {
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#write({ id, method, params })
    })
  }

  #notify(method: string, params: unknown): void {
    this.#write({ method, params })
  }

  #write(message: object): void {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message })
    this.#process.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    for (;;) {
      const head = this.#received.indexOf('\r\n\r\n')
      const length = Number(/Content-Length: (\d+)/i.exec(this.#received.toString('latin1', 0, Math.max(0, head)))?.[1])
      const end = head + 4 + length
      if (head < 0 || this.#received.length < end) return
      const answer = JSON.parse(this.#received.toString('utf8', head + 4, end)) as Answer
      this.#received = this.#received.subarray(end)
      this.#answer(answer)
    }
  }

  #answer({ id, method, params, result, error }: Answer): void {
    // The server asks for settings, of which there are none.
    if (method !== undefined && id !== undefined) this.#write({ id, result: params?.items?.map(() => null) ?? null })
    const waiting = method === undefined && typeof id === 'number' ? this.#waiting.get(id) : undefined
    if (!waiting) return
    this.#waiting.delete(id as number)
    if (error) waiting.reject(new Error(error.message))
    else waiting.resolve(result)
  }
}
