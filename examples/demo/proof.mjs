// What became of every message, asked from the tables by plain SQL. Nothing here goes through Tidings.

/** Where a queue, its archive and its dead letters are, in PGMQ's naming. Names of the demo need no quotes. */
const tables = (queue) => ({ live: `pgmq.q_${queue}`, archive: `pgmq.a_${queue}`, dead: `pgmq.q_${queue}_dlq` })

/** One row for every place at which a message is: (queue, msg_id, place), the queue being the one it was sent to. */
async function places(client, queues) {
  const parts = []
  for (const queue of queues) {
    const { live, archive, dead } = tables(queue)
    parts.push(
      `SELECT '${queue}' AS queue, msg_id, 'waiting' AS place FROM ${live}`,
      `SELECT '${queue}', msg_id, 'delayed' FROM tidings.delayed WHERE queue_name = '${queue}'`,
      `SELECT '${queue}', msg_id, 'archived' FROM ${archive}`,
    )
    if (await exists(client, dead)) parts.push(`SELECT '${queue}', ${originId}, 'dead letter' FROM ${dead}`)
  }
  return parts.join('\nUNION ALL ')
}

const originId = `(message -> 'meta' ->> 'origin_id')::bigint`

/** A dead-letter queue is made with the first message that goes there. */
async function exists(client, table) {
  const { rows } = await client.query('SELECT to_regclass($1) IS NOT NULL AS there', [table])
  return rows[0].there
}

/** What became of each message that was sent, in a temporary table: demo_fate. */
async function collect(client, queues, deleting) {
  await client.query(`
    DROP TABLE IF EXISTS pg_temp.demo_place, pg_temp.demo_fate;
    CREATE TEMP TABLE demo_place AS ${await places(client, queues)};
    CREATE TEMP TABLE demo_fate AS
    SELECT s.queue, s.msg_id, s.line, s.ordering_key, s.fate AS expected,
      p.count AS places, p.place, coalesce(h.count, 0) AS handled,
      -- A message that is deleted once it was handled leaves nothing but its effect.
      CASE
        WHEN p.count IS NOT NULL THEN p.place
        WHEN h.count IS NOT NULL AND s.queue IN (${deleting.map((queue) => `'${queue}'`).join()}) THEN 'deleted'
        ELSE 'lost'
      END AS fate
    FROM demo.sent s
    LEFT JOIN (SELECT queue, msg_id, count(*), min(place) AS place FROM demo_place GROUP BY 1, 2) p USING (queue, msg_id)
    LEFT JOIN (SELECT queue, msg_id, count(*) FROM demo.handled GROUP BY 1, 2) h USING (queue, msg_id)`)
}

const counts = `
  SELECT coalesce(queue, 'together') AS queue, count(*)::int AS sent,
    count(*) FILTER (WHERE fate = 'archived')::int AS archived,
    count(*) FILTER (WHERE fate = 'deleted')::int AS deleted,
    count(*) FILTER (WHERE fate = 'dead letter')::int AS dead,
    count(*) FILTER (WHERE fate IN ('waiting', 'delayed'))::int AS left_over,
    count(*) FILTER (WHERE fate = 'lost')::int AS lost,
    count(*) FILTER (WHERE places > 1)::int AS twice_there,
    count(*) FILTER (WHERE handled > 1)::int AS handled_twice
  FROM demo_fate GROUP BY ROLLUP (demo_fate.queue) ORDER BY demo_fate.queue NULLS LAST`

/** Each finds what must not be: rows (queue, msg_id). */
const violations = [
  ['no message is lost', `SELECT queue, msg_id FROM demo_fate WHERE fate = 'lost'`],
  ['no message is in two places', 'SELECT queue, msg_id FROM demo_fate WHERE places > 1'],
  ['no message is left over', `SELECT queue, msg_id FROM demo_fate WHERE fate IN ('waiting', 'delayed')`],
  [
    'there is no message that nobody sent',
    'SELECT queue, msg_id FROM demo_place EXCEPT SELECT queue, msg_id FROM demo.sent',
  ],
  [
    'what is archived or deleted was handled',
    `SELECT queue, msg_id FROM demo_fate WHERE fate IN ('archived', 'deleted') AND handled = 0`,
  ],
  [
    'dead letters are exactly those that had to fail',
    `SELECT queue, msg_id FROM demo_fate WHERE (fate = 'dead letter') <> (expected IS NOT NULL)`,
  ],
  ['no dead letter was handled', `SELECT queue, msg_id FROM demo_fate WHERE fate = 'dead letter' AND handled > 0`],
  [
    'the messages of each order were handled in their order',
    `SELECT queue, msg_id FROM (
       SELECT f.queue, f.msg_id, f.line, lag(f.line) OVER (PARTITION BY f.ordering_key ORDER BY h.number) AS before
       FROM demo.handled h JOIN demo_fate f USING (queue, msg_id) WHERE f.ordering_key IS NOT NULL
     ) steps WHERE line < before`,
  ],
  [
    'what was handled twice was in the hands of the killed worker',
    `SELECT queue, msg_id FROM demo.handled GROUP BY 1, 2 HAVING count(*) > 1 AND NOT bool_or(worker = $1)`,
  ],
]

/** Dead letters that do not say why. */
async function silentDeadLetters(client, queues) {
  const broken = []
  for (const queue of queues) {
    const { dead } = tables(queue)
    if (!(await exists(client, dead))) continue
    const { rows } = await client.query(
      `SELECT '${queue}' AS queue, ${originId} AS msg_id FROM ${dead}
       WHERE coalesce(message -> 'meta' ->> 'error_message', '') = ''`,
    )
    broken.push(...rows)
  }
  return broken
}

/**
 * @param client a connected client of `pg`
 * @param queues what was sent to, the first names that `sent`, `handled` and `failed` of the schema demo know
 * @param deleting those of them whose messages are deleted once they were handled
 * @param killed the name of the worker that was killed
 * @returns the checks, each with the messages that break it, and the counts by queue (the last row is the sum)
 */
export async function prove(client, { queues, deleting, killed }) {
  await collect(client, queues, deleting)
  const checks = []
  for (const [claim, sql] of violations) {
    const { rows } = await client.query(sql, sql.includes('$1') ? [killed] : [])
    checks.push({ claim, broken: rows })
  }
  checks.push({ claim: 'every dead letter says why', broken: await silentDeadLetters(client, queues) })
  return { checks, counts: (await client.query(counts)).rows }
}

/**
 * Attempts that ended without a report, neither handled nor failed: those that the kill cut off.
 * @param killedAt a Date
 * @returns how many, and when after the kill the first and the last of them was delivered again, in seconds
 */
export async function cutOff(client, killedAt) {
  const { rows } = await client.query(
    `WITH attempt AS (
       SELECT queue, msg_id, attempt, started_at FROM demo.handled
       UNION ALL SELECT queue, msg_id, attempt, started_at FROM demo.failed
     ), first_after AS (
       SELECT DISTINCT ON (queue, msg_id) queue, msg_id, attempt, started_at FROM attempt
       WHERE started_at > $1 ORDER BY queue, msg_id, attempt
     ), missing AS (
       SELECT f.* FROM first_after f
       WHERE f.attempt > 1 AND NOT EXISTS (
         SELECT FROM attempt a WHERE a.queue = f.queue AND a.msg_id = f.msg_id AND a.attempt = f.attempt - 1)
     )
     SELECT count(*)::int AS count, extract(epoch FROM min(started_at) - $1)::float8 AS first,
       extract(epoch FROM max(started_at) - $1)::float8 AS last FROM missing`,
    [killedAt],
  )
  return rows[0]
}
