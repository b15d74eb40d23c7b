import pg from 'pg'
import { settlesWithin } from '../../core/awake.ts'
import { sleep, systemClock } from '../../core/clock.ts'
import { nextTurn } from '../../core/turns.ts'
import { type Connection, cutOff, streamOf } from './connections.ts'
import { statements } from './sql.gen.ts'
import { AnswerLost, isOfServer } from './sqlstates.ts'

/** From then on it is asked what has become of a statement, again and again. */
const lateMs = 1_000
const againMs = 1_000
/** So many in a row have to find that the server does not work on a statement. */
const looks = 2
/** A slow line may still be busy with carrying the statement. */
const bytesPerMs = 64
const askTimeoutMs = 2_500
const goodbyeMs = 500
/** A server that can be reached and not asked: it has no more connections, or another password. */
const longestUnclearMs = 60_000
/** A statement is known by its beginning where its session is not known. */
const knownBy = 100

interface Statement {
  readonly connection: Connection
  readonly text: string
  readonly sentAt: number
  bytesRead: number
  /** How often in a row the server was found not to work on it. */
  missed: number
  fail(lost: AnswerLost): void
}

/** What the server says that it works on. */
interface Work {
  readonly processes: ReadonlySet<unknown>
  readonly texts: ReadonlySet<unknown>
}

/**
 * Finds statements whose answers will never come. How long a statement takes says nothing: one may wait for a lock or
 * empty a large queue. So the server is asked, on a new connection, whether it works on it.
 */
export class Overdue {
  readonly #config: pg.ClientConfig
  readonly #found: () => void
  readonly #late = new Set<Statement>()
  #looking = false

  /** @param found is called when an answer was found to be lost */
  constructor(config: pg.ClientConfig, found: () => void) {
    this.#config = config
    this.#found = found
  }

  /** @throws AnswerLost soon after the connection broke without a word; otherwise what the answer is */
  watch<T>(connection: Connection, text: string, bytes: number, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const over = () => {
        timer.cancel()
        this.#late.delete(statement)
      }
      const fail = (error: unknown) => {
        over()
        reject(error)
      }
      const { bytesRead } = streamOf(connection.client)
      const statement: Statement = { connection, text, sentAt: performance.now(), bytesRead, missed: 0, fail }
      const timer = systemClock.after(lateMs + bytes / bytesPerMs, () => {
        this.#late.add(statement)
        void this.#look()
      })
      answer.then((value) => {
        over()
        resolve(value)
      }, fail)
    })
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    while (this.#late.size > 0) {
      const asked = [...this.#late].filter((statement) => !isAnswering(statement))
      if (asked.length > 0) {
        const work = await this.#ask(asked.every(({ connection }) => connection.session.isDirect))
        // What has come meanwhile is read first.
        await nextTurn()
        this.#judge(asked, work)
      }
      if (this.#late.size > 0) await sleep(systemClock, againMs)
    }
    this.#looking = false
  }

  #judge(asked: readonly Statement[], work: Work | 'unclear' | 'unreachable'): void {
    const isLost = (statement: Statement) => {
      if (work === 'unreachable') return true
      if (work === 'unclear') return performance.now() - statement.sentAt > longestUnclearMs
      // A session that stands still for a moment has not read the statement yet, or not sent its answer.
      statement.missed = isAtWork(statement, work) ? 0 : statement.missed + 1
      return statement.missed >= looks
    }
    const lost = asked.filter((statement) => this.#late.has(statement) && !isAnswering(statement) && isLost(statement))
    if (lost.length === 0) return
    this.#found()
    for (const statement of lost) statement.fail(new AnswerLost(work !== 'unreachable'))
  }

  /** @param direct whether a connection that is made leads to the server, and not to a pooler that may be busy */
  async #ask(direct: boolean): Promise<Work | 'unclear' | 'unreachable'> {
    // A time limit of the client's own would count the time in which this process is busy.
    const client = new pg.Client({ ...this.#config, connectionTimeoutMillis: 0 })
    client.on('error', () => {})
    let isReached = false
    const ask = async () => {
      await client.connect()
      isReached = !direct
      return (await client.query(statements.work, [knownBy])).rows
    }
    const asking = ask()
    try {
      if (!(await settlesWithin(asking, askTimeoutMs))) cutOff(client)
      const rows = await asking
      return {
        processes: new Set(rows.map(({ pid }) => pid)),
        texts: new Set(rows.map(({ beginning }) => beginning)),
      }
    } catch (error) {
      return isReached || isOfServer(error) ? 'unclear' : 'unreachable'
    } finally {
      client.end().catch(() => {})
      systemClock.after(goodbyeMs, () => cutOff(client))
    }
  }
}

const isAtWork = ({ connection, text }: Statement, { processes, texts }: Work) =>
  connection.session.isDirect
    ? processes.has(processOf(connection.client))
    : texts.has(text.slice(0, knownBy)) || texts.has('')

/** A large answer on a slow line comes in parts. */
function isAnswering(statement: Statement): boolean {
  const { bytesRead } = streamOf(statement.connection.client)
  const before = statement.bytesRead
  statement.bytesRead = bytesRead
  return bytesRead > before
}

/** As text: applications change what numbers are read as. */
const processOf = (client: pg.ClientBase) => String((client as pg.ClientBase & { processID?: number | null }).processID)
