import type { IncomingMessage } from 'node:http'

/** One server-sent event. */
export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/** The server writes a comment every two seconds. */
const silenceMs = 5_000

/** Reads server-sent events, until the connection ends or says nothing for too long. */
export async function* readEvents(answer: IncomingMessage): AsyncGenerator<ServerEvent, void> {
  const silence = setTimeout(() => answer.destroy(new Error('the server fell silent')), silenceMs)
  answer.setEncoding('utf8')
  let buffered = ''
  try {
    for await (const chunk of answer) {
      silence.refresh()
      buffered += chunk as string
      const blocks = buffered.split('\n\n')
      buffered = blocks.pop() ?? ''
      for (const block of blocks) {
        const event = parse(block)
        if (event !== null) yield event
      }
    }
  } finally {
    clearTimeout(silence)
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
