import pg from 'pg'
import { migratedDatabase, openEngine } from './support.ts'

/** What PGMQ's clients see of a call. */
export interface Answer {
  readonly rows: Record<string, unknown>[]
  /** `LEVEL SQLSTATE message` */
  readonly notices: string[]
}

/** A session of a client of PGMQ. Numbers come as numbers. */
export class PgmqClient {
  readonly session: pg.Client
  readonly #notices: string[] = []
  /** What came by LISTEN. */
  readonly heard: string[] = []

  constructor(url: string) {
    this.session = new pg.Client({
      connectionString: url,
      types: {
        getTypeParser: ((oid: number, format: 'text') =>
          oid === 20 ? Number : pg.types.getTypeParser(oid, format)) as never,
      },
    })
    this.session.on('notice', ({ severity, code, message }) => this.#notices.push(`${severity} ${code} ${message}`))
    this.session.on('notification', ({ channel, payload }) => this.heard.push(`${channel} ${payload}`))
  }

  /** A statement with its notices. */
  async ask(text: string, values: unknown[] = []): Promise<Answer> {
    this.#notices.length = 0
    const { rows } = await this.session.query(text, values)
    return { rows, notices: [...this.#notices] }
  }

  async rows(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return (await this.ask(text, values)).rows
  }

  /** What a function gives, one value a row. */
  async call(text: string, values: unknown[] = []): Promise<unknown[]> {
    return (await this.rows(`SELECT r FROM pgmq.${text} r`, values)).map((row) => row.r)
  }

  async notices(text: string, values: unknown[] = []): Promise<string[]> {
    return (await this.ask(`SELECT pgmq.${text}`, values)).notices
  }

  /** `SQLSTATE message` of a call that fails. */
  async failure(text: string, values: unknown[] = []): Promise<string> {
    return this.session.query(`SELECT * FROM pgmq.${text}`, values).then(
      () => 'it succeeded',
      ({ code, message }: pg.DatabaseError) => `${code} ${message}`,
    )
  }

  /** The ids of messages, in the order of the rows. */
  async ids(text: string, values: unknown[] = []): Promise<number[]> {
    return (await this.rows(`SELECT msg_id FROM pgmq.${text}`, values)).map((row) => row.msg_id as number)
  }
}

export async function pgmqSession(url: string): Promise<PgmqClient> {
  const client = new PgmqClient(url)
  await client.session.connect()
  return client
}

/** A database with the schema of Tidings, and a session in it. */
export async function pgmqDatabase(server: string) {
  const { url, drop } = await migratedDatabase(server)
  const sessions: PgmqClient[] = []
  const session = async () => {
    const client = await pgmqSession(url)
    sessions.push(client)
    return client
  }
  const engine = await openEngine(url)
  return {
    url,
    engine,
    client: await session(),
    session,
    async close() {
      await Promise.all(sessions.map(({ session }) => session.end()))
      await engine.close()
      await drop()
    },
  }
}

export type PgmqDatabase = Awaited<ReturnType<typeof pgmqDatabase>>
