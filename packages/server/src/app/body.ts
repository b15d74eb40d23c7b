import { checkBodySize } from 'tidings/internal/protocol/messages'
import type { AppContext } from './context.ts'

/**
 * Reads bodies up to a size; what is larger is not read to its end, and its connection is closed.
 * @throws BODY_TOO_LARGE
 */
export const bodyReader = (maxBytes: number) => async (context: AppContext) => {
  const announced = Number(context.req.header('Content-Length') ?? 0)
  check(context, announced, maxBytes)
  const { body } = context.req.raw
  if (body === null) return new Uint8Array()
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    check(context, size, maxBytes, `more than ${maxBytes}`)
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}

function check(context: AppContext, size: number, maxBytes: number, shown?: string): void {
  // The rest of it is not read.
  if (size > maxBytes) context.header('Connection', 'close')
  checkBodySize(size, maxBytes, shown)
}
