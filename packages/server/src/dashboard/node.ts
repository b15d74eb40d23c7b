import type { IncomingMessage } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import type { Fetch } from '../app/context.ts'
import type { NodeHandler } from './options.ts'

/** What Express, NestJS and Fastify add to a request of Node. */
type Incoming = IncomingMessage & {
  /** The whole path, where `url` is what follows the mount. */
  readonly originalUrl?: string
  /** What a parser in front has made of the body, which can be read only once. */
  readonly body?: unknown
  rawBody?: unknown
}

/** The handler as servers of Node call it. */
export function nodeHandler(fetch: Fetch): NodeHandler {
  const answer = getRequestListener(fetch as Parameters<typeof getRequestListener>[0], { overrideGlobalObjects: false })
  return async (incoming, outgoing) => {
    const given = incoming as Incoming
    if (given.originalUrl !== undefined) given.url = given.originalUrl
    if (given.readableEnded && given.body !== undefined && !(given.rawBody instanceof Buffer))
      given.rawBody = Buffer.from(typeof given.body === 'string' ? given.body : JSON.stringify(given.body))
    await answer(incoming, outgoing)
  }
}
