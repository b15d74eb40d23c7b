// The statements themselves, on the same server: a table, an index, SKIP LOCKED.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

export const peer = {
  name: 'raw SQL',
  settings: {
    default: { work: { batch: 1, loops: 1 } },
    best: { work: { batch: 1_000, loops: 4 } },
  },
  /** With a notification instead of looking again and again. */
  awaiting: { awaits: true },
  strict: { options: { batch: 1, loops: 1 } },
  at: (concurrency) => ({ batch: concurrency, loops: 1 }),

  async setUp() {},

  async open(url) {
    const pool = new pg.Pool({ connectionString: url, max: 10 })
    const run = (name, text, values) => pool.query({ name, text, values })
    const listener = new pg.Client({ connectionString: url })
    let wake = () => {}
    let listens = false
    const listen = async (queue) => {
      if (listens) return
      listens = true
      await listener.connect()
      listener.on('notification', () => wake())
      await listener.query(`LISTEN ${queue}`)
    }
    return {
      create: (queue) =>
        pool.query(`CREATE TABLE ${queue} (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, reads integer NOT NULL
          DEFAULT 0, sent_at timestamptz NOT NULL DEFAULT now(), due timestamptz NOT NULL, message jsonb)
          WITH (fillfactor = 50)`),
      send: (queue, { data }) =>
        run(`one ${queue}`, `INSERT INTO ${queue} (due, message) VALUES (now(), $1::jsonb) RETURNING id`, [
          JSON.stringify(data),
        ]),
      /** With a notification, for a reader that waits. */
      sendAwaited: (queue, { data }) =>
        run(
          `wake ${queue}`,
          `WITH sent AS (INSERT INTO ${queue} (due, message) VALUES (now(), $1::jsonb) RETURNING id)
           SELECT id, pg_notify('${queue}', '') FROM sent`,
          [JSON.stringify(data)],
        ),
      sendMany: (queue, messages) =>
        run(
          `many ${queue}`,
          `INSERT INTO ${queue} (due, message) SELECT now() + make_interval(secs => $2), e
           FROM jsonb_array_elements($1::jsonb) e`,
          [JSON.stringify(messages.map(({ data }) => data)), (messages[0].delayMs ?? 0) / 1_000],
        ),
      work(queue, handle, { batch, loops, awaits }) {
        let stopped = false
        const claim = `UPDATE ${queue} SET due = clock_timestamp() + interval '30 s', reads = reads + 1
          WHERE id = ANY (ARRAY(SELECT id FROM ${queue} WHERE due <= clock_timestamp() ORDER BY id LIMIT ${batch}
          FOR UPDATE SKIP LOCKED)) RETURNING id, message`
        const settle = `DELETE FROM ${queue} WHERE id = ANY ($1)`
        const loop = async () => {
          while (!stopped) {
            const woken = awaits && new Promise((resolve) => (wake = resolve))
            const { rows } = await run(`claim ${queue} ${batch}`, claim)
            if (rows.length === 0) await (awaits ? Promise.race([woken, sleep(1_000)]) : sleep(10))
            else {
              for (const { message } of rows) handle(message)
              await run(`settle ${queue}`, settle, [rows.map(({ id }) => id)])
            }
          }
        }
        const all = (awaits ? listen(queue) : Promise.resolve()).then(() =>
          Promise.all(Array.from({ length: loops }, loop)),
        )
        return {
          async stop() {
            stopped = true
            wake()
            await all
          },
        }
      },
      count: async (queue) => Number((await pool.query(`SELECT count(*) FROM ${queue}`)).rows[0].count),
      clear: (queue) => pool.query(`DROP TABLE ${queue}`),
      bind: async () => {},
      fan: (queues, { data }) =>
        run(
          `fan ${queues[0]}`,
          `WITH m AS (SELECT $1::jsonb AS message) ${queues
            .map((queue, at) => `, i${at} AS (INSERT INTO ${queue} (due, message) SELECT now(), message FROM m)`)
            .join('')} SELECT 1`,
          [JSON.stringify(data)],
        ),
      async close() {
        if (listens) await listener.end()
        await pool.end()
      },
    }
  },
}
