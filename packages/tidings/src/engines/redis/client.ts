import { createRequire } from 'node:module'
import { TidingsError } from '../../core/errors.ts'

/** The members of an ioredis client, version 5 or 6, that Tidings uses. */
export interface RedisClient {
  readonly status: string
  readonly options?: { readonly db?: number | null }
  /** The socket, once there is one. */
  readonly stream?: { readonly bytesRead: number }
  connect(): Promise<void>
  disconnect(): void
  call(command: string, args: (string | number)[]): Promise<unknown>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end' | 'moved', listener: () => void): unknown
  on(event: 'smessage', listener: (channel: string, text: string) => void): unknown
}

type ClientClass = new (options: object) => RedisClient

/** The class, loaded when the first Redis is connected to. @throws UNSUPPORTED */
export async function loadClient(): Promise<ClientClass> {
  const version = installedVersion()
  if (version !== undefined && !isSupported(version)) throw tooOld(`the package ioredis, ${version},`)
  try {
    const module = await import('ioredis')
    return (module.Redis ?? module.default) as unknown as ClientClass
  } catch (error) {
    const isBundled = String((error as Error).message).startsWith('Dynamic require')
    throw new TidingsError('UNSUPPORTED', 'the package ioredis, which connects to Redis, cannot be loaded', {
      cause: error,
      hint: isBundled
        ? 'Bundle as CommonJS, leave packages outside of the bundle, or give it a `require`.'
        : 'Install it: npm install ioredis',
    })
  }
}

function installedVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)('ioredis/package.json') as { version: string }).version
  } catch {
    // Bundled, or not there.
    return undefined
  }
}

function isSupported(version: string): boolean {
  const [major, minor] = version.split('.').map(Number) as [number, number]
  return major > 5 || (major === 5 && minor >= 4)
}

export const tooOld = (what: string) =>
  new TidingsError('UNSUPPORTED', `${what} is too old; it must be 5.4 or newer`, { hint: 'npm install ioredis@6' })

/**
 * One connection, not opened yet. ioredis does not reconnect, queue or resend by itself: the driver decides what may be
 * repeated, and how long a call may take.
 * @param options address and credentials; the options here override them
 */
export function newClient(Client: ClientClass, options: object): RedisClient {
  return new Client({
    ...options,
    connectionName: 'tidings',
    // Ours is shorter. It would also count the time in which the event loop is blocked.
    connectTimeout: 60_000,
    // A server that does not answer does not say goodbye either.
    disconnectTimeout: 100,
    lazyConnect: true,
    retryStrategy: null,
    sentinelRetryStrategy: null,
    reconnectOnError: null,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    enableAutoPipelining: false,
    maxRetriesPerRequest: 0,
    commandTimeout: undefined,
    socketTimeout: undefined,
    // INFO and CLIENT SETINFO may be forbidden.
    enableReadyCheck: false,
    disableClientInfo: true,
    readOnly: false,
    monitor: false,
    // The scripts of Tidings expect plain answers.
    scripts: undefined,
    himportFieldsets: undefined,
    stringNumbers: false,
    protocol: 2,
    replyMapping: 'legacy',
  })
}
