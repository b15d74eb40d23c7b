import { type IncomingMessage, request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'
import { checkUrlAllowed, guardedLookup, notAllowed, type Resolve } from './addresses.ts'

export interface PostRequest {
  readonly url: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
  readonly allowPrivate: boolean
  readonly timeoutMs: number
  /** Replaces the name server in tests. */
  readonly resolve?: Resolve | undefined
}

/**
 * Posts JSON to a configured URL: only to public addresses unless private ones are allowed, and never along a redirect.
 * The body of the answer is not read.
 * @returns the status
 * @throws URL_NOT_ALLOWED; errors of the network, a timeout
 */
export function postJson({ url, body, headers, allowPrivate, timeoutMs, resolve }: PostRequest): Promise<number> {
  const target = checkUrlAllowed(url, allowPrivate, 'webhook.url')
  const send = target.protocol === 'https:' ? overHttps : overHttp
  return new Promise((resolvePost, reject) => {
    const answered = ({ statusCode = 0 }: IncomingMessage) => {
      request.destroy()
      if (statusCode >= 300 && statusCode < 400)
        reject(notAllowed(`the webhook answered with a redirect (${statusCode})`, 'Name the address that it leads to.'))
      else resolvePost(statusCode)
    }
    const request = send(
      target,
      {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        lookup: guardedLookup(allowPrivate, resolve),
        // A new connection each time, so that every attempt goes to a checked address.
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
      },
      answered,
    )
    request.on('error', (error) => reject(isTimeout(error) ? new Error(`no answer within ${timeoutMs} ms`) : error))
    request.end(body)
  })
}

const isTimeout = (error: Error & { cause?: unknown }) =>
  error.name === 'TimeoutError' || (error.cause instanceof Error && error.cause.name === 'TimeoutError')
