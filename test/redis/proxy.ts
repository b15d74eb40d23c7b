import { once } from 'node:events'
import { createServer, type Socket, connect as toServer } from 'node:net'

/** Stands between engines and a server, and can lose an answer: the server has done what it was asked for. */
export interface LossyProxy {
  readonly url: string
  /**
   * Loses the answer to the next request with this text, and its connection.
   * @param meanwhile what happens after the server has answered and before the connection breaks
   */
  loseAnswerTo(text: string, meanwhile?: () => Promise<unknown>): void
  close(): void
}

export async function startProxy(port: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>()
  let wanted: { readonly text: string; meanwhile(): Promise<unknown> } | undefined
  const server = createServer((client) => {
    const upstream = toServer(port, '127.0.0.1')
    let losing: typeof wanted
    let sent = ''
    client.on('data', (data) => {
      sent = sent.slice(-200) + data.toString('latin1')
      if (wanted && sent.includes(wanted.text)) {
        losing = wanted
        wanted = undefined
      }
      upstream.write(data)
    })
    upstream.on('data', (data) => {
      if (!losing) return void client.write(data)
      // The script is not known yet: it comes again.
      if (data.toString('latin1').startsWith('-NOSCRIPT')) {
        wanted = losing
        losing = undefined
        return void client.write(data)
      }
      void losing.meanwhile().finally(() => client.destroy())
    })
    for (const [one, other] of [[client, upstream] as const, [upstream, client] as const]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => other.destroy())
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `redis://127.0.0.1:${(server.address() as { port: number }).port}`,
    loseAnswerTo(text, meanwhile = async () => {}) {
      wanted = { text, meanwhile }
    },
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
