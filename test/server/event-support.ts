import { connect } from 'tidings'
import type { Bus } from 'tidings/internal/bus/bus'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { expect, onTestFinished } from 'vitest'
import { migratedDatabase, query } from '../postgres/support.ts'
import { startHttpServer, type TestHttpServer } from '../support/http-server.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { EventClient } from './event-client.ts'

/** The database of a test, with what lets its queues tell of themselves. */
export async function openDatabase(
  settings: Parameters<typeof eventsMigration>[0] = {},
): Promise<{ url: string; bus: Bus }> {
  const database = await migratedDatabase(await sharedServer('postgres18'))
  onTestFinished(() => database.drop())
  await (await connect(database.url)).close()
  await query(database.url, eventsMigration(settings).up)
  return { url: database.url, bus: await open(database.url) }
}

export async function open(url: string, token?: string): Promise<Bus> {
  const bus = await connect(url, token === undefined ? {} : { token })
  onTestFinished(() => bus.close())
  return bus
}

export async function serve(url: string, ...args: string[]): Promise<TestHttpServer> {
  const server = await startHttpServer(url, ...args)
  onTestFinished(() => server.stop('SIGKILL'))
  return server
}

/** Hears what is announced from now on. */
export async function listen(server: { readonly url: string }, search = '', headers = {}): Promise<EventClient> {
  const client = await EventClient.open(server, `/v1/events${search}`, headers)
  expect(await client.next('listening')).toEqual({ installed: true, prefix: expect.any(String) })
  return client
}

/** Whether another stream may begin, which then goes at once. */
export async function hasRoom(server: TestHttpServer): Promise<boolean> {
  const client = await EventClient.open(server, '/v1/events').catch(() => null)
  client?.destroy()
  return client !== null
}

/** How many connections to the database listen. */
export async function listeners(url: string): Promise<number> {
  const text = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND query ~ '^(UN)?LISTEN|tidings[.]look'`
  return (await query(url, text)).length
}

export const breakListeners = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '^(UN)?LISTEN|tidings[.]look'`
