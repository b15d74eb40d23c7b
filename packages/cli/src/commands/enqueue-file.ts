import { createReadStream, type Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Queue } from 'tidings/internal/bus/queue'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import type { SendOptions } from 'tidings/internal/messages/options'
import { type Limits, sizeWith } from 'tidings/internal/port/limits'
import type { Context } from '../context.ts'
import { type BrokenLine, type DataLine, readJsonLines } from '../json-lines.ts'
import { count, printable } from '../output.ts'
import { Progress } from '../progress.ts'

/** How many of the skipped lines are named. */
const namedLines = 20

/** Sends every line of a JSON Lines file as a message. Each batch is atomic. */
export async function enqueueFile(context: Context, queue: string, path: string, options: SendOptions): Promise<void> {
  refuseForMany(options)
  const { flagValues, out } = context
  const skipInvalid = flagValues.skipInvalid === true
  const input = await inputOf(path)
  // A file that can be read twice is checked completely before the first message is sent.
  if (input.size !== null && !skipInvalid)
    for await (const line of readJsonLines(input.open())) if ('broken' in line) throw atLine(line, path, 0)

  const upload = new Upload(await context.connect(), queue, options)
  const progress = new Progress(input.size, !out.json)
  let skipped = 0
  try {
    for await (const line of readJsonLines(input.open(), (bytes) => progress.read(bytes))) {
      if ('data' in line) await upload.add(line)
      else if (!skipInvalid) throw atLine(line, path, upload.sent)
      else if (++skipped <= namedLines) out.note(`left out line ${line.number}: ${printable(line.broken.message)}`)
      progress.draw(upload.sent)
    }
    await upload.flush()
  } finally {
    progress.clear()
  }
  const { sent, duplicates } = upload
  out.result({ queue, sent, duplicates, skipped }, () => {
    const others = [duplicates && count(duplicates, 'duplicate'), skipped && `${count(skipped, 'line')} left out`]
    const aside = others.filter(Boolean).join(', ')
    return `enqueued ${count(sent, 'message')} in ${queue}${aside && ` (${aside})`}`
  })
}

/** Collects lines and sends them in batches. */
class Upload {
  sent = 0
  duplicates = 0
  readonly #queue: Queue
  readonly #options: SendOptions
  readonly #limits: Limits
  /** The options of every message. */
  readonly #otherBytes: number
  #batch: DataLine[] = []
  #bytes = 0

  constructor(bus: Bus, queue: string, options: SendOptions) {
    this.#queue = bus.queue(queue)
    this.#options = options
    this.#limits = bus.engine.limits
    this.#otherBytes = sizeWith({ options: JSON.stringify(options) })
  }

  async add(line: DataLine): Promise<void> {
    const bytes = line.bytes + this.#otherBytes
    const isFull = this.#batch.length >= this.#limits.items || this.#bytes + bytes > this.#limits.bytes
    if (isFull) await this.flush()
    this.#batch.push(line)
    this.#bytes += bytes
  }

  async flush(): Promise<void> {
    const batch = this.#batch
    if (batch.length === 0) return
    this.#batch = []
    this.#bytes = 0
    const results = await this.#queue
      .sendBatch(batch.map(({ data }) => ({ ...this.#options, data })))
      .catch((error) => {
        throw this.#interrupted(error, batch[0]!.number)
      })
    const duplicates = results.filter(({ duplicate }) => duplicate).length
    this.duplicates += duplicates
    this.sent += results.length - duplicates
  }

  /** Adds to the error from which line on to try again. */
  #interrupted(error: unknown, line: number): unknown {
    if (!isTidingsError(error) || this.sent === 0) return error
    const message = `${error.message}; what stands before line ${line} was sent`
    return new TidingsError(error.code, message, { cause: error.cause, details: { ...error.details, line } })
  }
}

/** Options that would make every message after the first a duplicate, or leave only the last. */
function refuseForMany({ dedupId, dedup, uniqueTarget }: SendOptions): void {
  const flag =
    dedupId !== undefined || dedup !== undefined ? '--dedup-id' : uniqueTarget ? '--unique-target' : undefined
  const which = dedup === undefined ? 'first' : 'last'
  if (flag) throw new TidingsError('OPTION_CONFLICT', `${flag} with --file would send the ${which} line only`)
}

interface Input {
  /** Null if the input can be read only once. */
  readonly size: number | null
  open(): AsyncIterable<Buffer>
}

async function inputOf(path: string): Promise<Input> {
  if (path === '-') return { size: null, open: () => process.stdin }
  const info = await statOf(path)
  if (info.isDirectory()) throw unreadable(path, 'it is a folder')
  return { size: info.isFile() ? info.size : null, open: () => createReadStream(path) }
}

async function statOf(path: string): Promise<Stats> {
  try {
    return await stat(path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw unreadable(path, code === 'ENOENT' ? 'there is none' : message)
  }
}

const unreadable = (path: string, why: string) =>
  new TidingsError('USAGE', `the file '${path}' cannot be read: ${why}`, { hint: 'Correct the path after --file.' })

function atLine({ number, broken }: BrokenLine, path: string, sent: number): TidingsError {
  const where = path === '-' ? `line ${number}` : `line ${number} of ${path}`
  const state = sent === 0 ? 'nothing was sent' : `${count(sent, 'message')} before it were sent`
  return new TidingsError(broken.code, `${where}: ${broken.message}; ${state}`, {
    details: { line: number, sent },
    hint: 'Correct the line, or leave out such lines with --skip-invalid.',
  })
}
