import {
  createServer as createHttp,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Bus, connect } from 'tidings'
import { type DashboardOptions, dashboard } from 'tidings-server'
import { onTestFinished } from 'vitest'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly bytes: Buffer
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they expect it
  readonly body: any
}

export interface Asking {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** What a page of the dashboard sends along. */
export const ownHeaders = { 'x-tidings-dashboard': '1' }

/** Asks with exactly these headers: those that browsers keep to themselves, too. */
export function askAt(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: Asking = {},
): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const own =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': `${Buffer.byteLength(text)}` }
  return new Promise((resolve, reject) => {
    const asking = httpRequest(
      { host: '127.0.0.1', port, path, method, headers: { ...own, ...headers } },
      (incoming) => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () => {
          const bytes = Buffer.concat(chunks)
          const isJson = incoming.headers['content-type']?.startsWith('application/json') && bytes.length > 0
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            bytes,
            text: String(bytes),
            body: isJson ? JSON.parse(String(bytes)) : undefined,
          })
        })
      },
    )
    asking.on('error', reject)
    asking.end(text)
  })
}

/** Serves by a handler of Node, on a port of its own, until the test ends. @returns the port */
export async function listen(
  handler: (incoming: IncomingMessage, outgoing: ServerResponse) => unknown,
): Promise<number> {
  const server = createHttp((incoming, outgoing) => void handler(incoming, outgoing))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => void server.close(() => resolve()))
  })
  return (server.address() as AddressInfo).port
}

export async function memoryBus(): Promise<Bus> {
  const bus = await connect('memory:')
  onTestFinished(() => bus.close())
  return bus
}

/** A dashboard of a test's own, on a server of Node. */
export async function startDashboard(options: DashboardOptions = {}, prefix = '') {
  const bus = await memoryBus()
  const pages = dashboard(bus, options)
  onTestFinished(() => pages.stop())
  const port = await listen(pages.node)
  const ask = (path: string, asking?: Asking) => askAt(port, prefix + path, asking)
  /** With what the page itself sends along. */
  const act = (method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
    ask(path, { method, headers: { ...ownHeaders, ...headers }, ...(body === undefined ? {} : { body }) })
  return { bus, pages, port, ask, act }
}

/** Takes down what is logged. */
export function logbook() {
  const lines: { level: string; details: Record<string, unknown>; message: string }[] = []
  const at = (level: string) => (details: object, message: string) =>
    void lines.push({ level, details: details as Record<string, unknown>, message })
  return { lines, logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } }
}
