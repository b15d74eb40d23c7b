import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** A line to a server that can be slow, be cut, and fall silent without closing anything, as a lost network path does. */
export interface Line {
  /** That of the server, but through the line. */
  readonly url: string
  /** From now on nothing passes on the connections that there are; new ones pass, or nothing passes on them either. */
  freeze(newOnes: 'pass' | 'frozen'): void
  /** Connections that are made from now on pass again. */
  thaw(): void
  /**
   * From now on all connections together bring no more than this from the server.
   * @param latencyMs how much later it arrives, besides
   */
  slow(bytesPerSecond: number, latencyMs?: number): void
  /**
   * The server gets what it is asked for, and its answers go nowhere, until the connections are cut.
   * @returns once the server was asked for something
   */
  loseAnswers(): Promise<void>
  /** Cuts the connections that there are: with an error, or in order. */
  cut(how?: 'RST' | 'FIN'): void
  close(): void
}

interface Connection {
  readonly client: Socket
  readonly upstream: Socket
  isSilent: boolean
}

/** @param url of the server; a Redis Cluster tells its clients other addresses than the one that they know */
export async function startLine(url: string): Promise<Line> {
  const target = new URL(url)
  const connections = new Set<Connection>()
  let isFrozen = false
  let losing: { asked(): void } | undefined
  let bytesPerMs = Number.POSITIVE_INFINITY
  let lateMs = 0
  let freeAt = 0
  const sockets = () => [...connections].flatMap(({ client, upstream }) => [client, upstream])

  const answers = () =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        if (losing) return done()
        const now = performance.now()
        freeAt = Math.max(freeAt, now) + chunk.length / bytesPerMs
        setTimeout(() => {
          if (lateMs > 0) setTimeout(() => this.push(chunk), lateMs)
          else this.push(chunk)
          done()
        }, freeAt - now)
      },
      flush(done) {
        setTimeout(done, lateMs)
      },
    })
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    const connection = { client, upstream, isSilent: isFrozen }
    connections.add(connection)
    const gone = () => {
      // A silent line does not tell that either.
      if (connection.isSilent) return
      connections.delete(connection)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', () => {})
    client.on('data', () => losing?.asked()).on('close', gone)
    // What has arrived before is still on its way to the client.
    upstream.on('close', (failed) => failed && gone())
    client.pipe(upstream)
    upstream.pipe(answers()).pipe(client)
    if (isFrozen) silence(connection)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const own = new URL(url)
  own.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const silence = (connection: Connection) => {
    connection.isSilent = true
    // What arrives is taken, and goes nowhere.
    for (const socket of [connection.client, connection.upstream]) socket.unpipe().resume()
  }
  return {
    url: own.href,
    freeze(newOnes) {
      isFrozen = newOnes === 'frozen'
      for (const connection of connections) silence(connection)
    },
    thaw() {
      isFrozen = false
    },
    slow(bytesPerSecond, latencyMs = 0) {
      bytesPerMs = bytesPerSecond / 1_000
      lateMs = latencyMs
    },
    loseAnswers() {
      return new Promise((asked) => {
        losing = { asked }
      })
    },
    cut(how = 'RST') {
      losing = undefined
      for (const socket of sockets()) how === 'RST' ? socket.resetAndDestroy() : socket.end()
    },
    close() {
      server.close()
      for (const socket of sockets()) socket.destroy()
    },
  }
}
