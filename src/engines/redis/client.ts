import { TidingsError } from '../../errors.ts'
import type { Address, RedisTarget } from './target.ts'

/** What Tidings needs of an ioredis client, version 5 or 6. */
export interface RedisClient {
  readonly status: string
  connect(): Promise<void>
  disconnect(): void
  call(command: string, args: (string | number)[]): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end' | 'moved', listener: () => void): unknown
  on(event: 'smessage', listener: (channel: string, text: string) => void): unknown
}

type ClientClass = new (options: object) => RedisClient

/** A server that cannot be reached is reported within 5 s. */
const connectTimeoutMs = 4_000

/** The class, loaded when the first Redis is connected to. */
export async function loadClient(): Promise<ClientClass> {
  try {
    const module = await import('ioredis')
    return (module.Redis ?? module.default) as unknown as ClientClass
  } catch (error) {
    throw new TidingsError('UNSUPPORTED', 'the package ioredis, which connects to Redis, cannot be loaded', {
      cause: error,
      hint: 'Install it: npm install ioredis',
    })
  }
}

/**
 * One connection, not opened yet. It does nothing by itself: no reconnecting, no queue while it is away, nothing sent
 * twice. What may be done again is for the driver to say.
 */
export function newClient(Client: ClientClass, target: RedisTarget, address: Address): RedisClient {
  return new Client({
    ...(target.path === undefined ? { host: address.host, port: address.port } : { path: target.path }),
    username: target.username,
    password: target.password,
    db: target.db,
    ...(target.tls ? { tls: {} } : {}),
    connectionName: 'tidings',
    connectTimeout: connectTimeoutMs,
    lazyConnect: true,
    retryStrategy: null,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    // INFO and CLIENT SETINFO may be forbidden.
    enableReadyCheck: false,
    disableClientInfo: true,
    protocol: 2,
  })
}
