import type { IncomingMessage } from 'node:http'
import { Patience } from './patience.ts'

/** One server-sent event. */
export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/** The server writes a comment every two seconds. */
const silenceMs = 5_000

/** Reads server-sent events, until the connection ends or says nothing for too long. */
export async function* readEvents(answer: IncomingMessage): AsyncGenerator<ServerEvent, void> {
  const silence = new Patience(silenceMs, () => answer.destroy(new Error('the server fell silent')))
  answer.setEncoding('utf8')
  let parts: string[] = []
  try {
    for await (const chunk of answer) {
      silence.heard()
      parts.push(chunk as string)
      // Only where a block may have ended: an event of many megabytes comes in many parts.
      if (!((parts.at(-2)?.at(-1) ?? '') + chunk).includes('\n\n')) continue
      const blocks = parts.join('').split('\n\n')
      parts = [blocks.pop() ?? '']
      for (const block of blocks) {
        const event = parse(block)
        if (event !== null) yield event
      }
    }
  } finally {
    silence.cancel()
    answer.destroy()
  }
}

/** @returns null for a comment */
function parse(block: string): ServerEvent | null {
  let event = 'message'
  const data: string[] = []
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice('event: '.length)
    else if (line.startsWith('data: ')) data.push(line.slice('data: '.length))
  }
  return data.length === 0 ? null : { event, data: data.join('\n') }
}
