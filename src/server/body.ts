import { TidingsError } from '../errors.ts'
import type { AppContext } from './app.ts'

/**
 * Reads bodies up to a size; what is larger is not read to its end, and its connection is closed.
 * @throws BODY_TOO_LARGE
 */
export const bodyReader = (maxBytes: number) => async (context: AppContext) => {
  const announced = Number(context.req.header('Content-Length') ?? 0)
  if (announced > maxBytes) throw tooLarge(context, `${announced}`, maxBytes)
  const { body } = context.req.raw
  if (body === null) return new Uint8Array()
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > maxBytes) throw tooLarge(context, `more than ${maxBytes}`, maxBytes)
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
}

function tooLarge(context: AppContext, size: string, maxBytes: number): TidingsError {
  context.header('Connection', 'close')
  return new TidingsError('BODY_TOO_LARGE', `the body is ${size} bytes; at most ${maxBytes}`, {
    details: { maxBytes },
    hint: 'Split the batch, or store the large part elsewhere and send a reference to it.',
  })
}
