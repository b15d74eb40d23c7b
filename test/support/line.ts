import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

/** A line to a server that can be cut, and fall silent without closing anything, as a lost network path does. */
export interface Line {
  readonly port: number
  /** From now on nothing passes on the connections that there are; new ones pass, or nothing passes on them either. */
  freeze(newOnes: 'pass' | 'frozen'): void
  /** Connections that are made from now on pass again. */
  thaw(): void
  /** From now on all connections together bring no more than this from the server. */
  slow(bytesPerSecond: number): void
  /** Cuts the connections that there are with an error. */
  reset(): void
  close(): void
}

export async function startLine(target: { host: string; port: number }): Promise<Line> {
  const sockets = new Set<Socket>()
  let isFrozen = false
  let bytesPerMs = Number.POSITIVE_INFINITY
  let freeAt = 0
  const slowly = () =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const now = performance.now()
        freeAt = Math.max(freeAt, now) + chunk.length / bytesPerMs
        setTimeout(done, freeAt - now, null, chunk)
      },
    })
  const server = createServer((client) => {
    const upstream = connect(target)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    client.pipe(upstream)
    upstream.pipe(slowly()).pipe(client)
    if (isFrozen) silence(client, upstream)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const silence = (...ends: Socket[]) => {
    // What arrives is taken, and goes nowhere.
    for (const socket of ends) socket.unpipe().resume()
  }
  return {
    port: (server.address() as AddressInfo).port,
    freeze(newOnes) {
      isFrozen = newOnes === 'frozen'
      silence(...sockets)
    },
    thaw() {
      isFrozen = false
    },
    slow(bytesPerSecond) {
      bytesPerMs = bytesPerSecond / 1_000
    },
    reset() {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
