import { TidingsError } from '../../core/errors.ts'
import type { Finding } from '../../port/engine.ts'
import { fewestForListening } from './connections.ts'
import type { Driver, Row } from './driver.ts'
import { describePgmq, type PgmqSchema, readPgmq } from './pgmq.ts'
import { statements } from './sql.gen.ts'

const oldestVersion = 130_000
/** Vacuum is behind when dead rows are many, and more than the living. */
const manyDeadRows = 10_000

/** Looks for what could hurt: versions, durability, permissions, poolers, what holds vacuum back, dead rows. */
export async function diagnose(driver: Driver): Promise<Finding[]> {
  const run = (text: string) => driver.query(text, [], { repeatable: true })
  const [server] = (await run(statements.diagnoseServer)) as [Row]
  return [
    checkVersion(server),
    checkPgmq(await readPgmq(run)),
    checkEncoding(server),
    ...checkDurability(server),
    checkPermissions(server),
    ...checkConnections(server, driver.poolMax),
    checkWriting(server),
    ...checkOpenFunctions(await run(statements.diagnoseOpenFunctions)),
    await checkPooler(driver, server),
    ...checkHorizon(await run(statements.diagnoseHorizon)),
    ...checkTables(await run(statements.diagnoseTables)),
    ...checkParked(await run(statements.diagnoseParked)),
    ...checkUnlimited(await run(statements.diagnoseUnlimited)),
    ...checkPauses(await run(statements.diagnosePauses)),
    ...checkEvents(await run(statements.diagnoseEvents)),
  ]
}

/** Where row level security hides rows of our own tables, everything would look empty. @throws PERMISSION_DENIED */
export async function refuseFiltered(driver: Driver): Promise<void> {
  const [row] = await driver.query(statements.diagnoseAtOpen, [], { repeatable: true })
  if (row?.filtered)
    throw new TidingsError(
      'PERMISSION_DENIED',
      `row level security hides rows of ${String(row.filtered)} from this role`,
      {
        hint: 'Use the owner, a role with BYPASSRLS, or the roles of `tidings migrate --roles`.',
      },
    )
}

const ok = (check: string, message: string): Finding => ({ level: 'ok', check, message, remedy: '' })
const warning = (check: string, message: string, remedy: string): Finding => ({
  level: 'warning',
  check,
  message,
  remedy,
})
const problem = (check: string, message: string, remedy: string): Finding => ({
  level: 'problem',
  check,
  message,
  remedy,
})

function checkUnlimited(rows: readonly Row[]): Finding[] {
  return rows.map(({ queue, leases }) =>
    warning(
      'limits',
      `queue '${String(queue)}' has a limit, and ${Number(leases)} messages in the hands of clients of PGMQ, which know of none`,
      'Let Tidings alone read this queue: docs/pgmq.md.',
    ),
  )
}

function checkVersion(server: Row): Finding {
  const what = `PostgreSQL ${String(server.version)}, schema version ${String(server.schema_version)}`
  return Number(server.version_number) >= oldestVersion
    ? ok('version', what)
    : problem('version', what, 'Upgrade to PostgreSQL 13 or newer.')
}

function checkPgmq(pgmq: PgmqSchema): Finding {
  const what = describePgmq(pgmq)
  if (pgmq.mode === 'attached' && pgmq.version === '1.5 to 1.9')
    return warning(
      'pgmq',
      `${what}: it has no last_read_at, so that the first read of a message is kept in a header`,
      'Upgrade PGMQ, or take the schema over with `tidings migrate --adopt`.',
    )
  return pgmq.mode === 'ours' && pgmq.extension === null && pgmq.available !== null
    ? ok('pgmq', `${what}: a client that says CREATE EXTENSION pgmq need not, and gets an error from PostgreSQL`)
    : ok('pgmq', what)
}

function checkEncoding({ encoding }: Row): Finding {
  return encoding === 'UTF8' || encoding === 'SQL_ASCII'
    ? ok('encoding', `the database has the encoding ${String(encoding)}`)
    : warning(
        'encoding',
        `the database has the encoding ${String(encoding)}: messages with other characters are refused`,
        'Move to a database with the encoding UTF8.',
      )
}

function checkDurability(server: Row): Finding[] {
  const settings = `fsync=${server.fsync}, synchronous_commit=${server.synchronous_commit}, full_page_writes=${server.full_page_writes}`
  const findings: Finding[] = []
  if (server.fsync !== 'on' || server.full_page_writes !== 'on')
    findings.push(
      problem('durability', `${settings}: a power cut can destroy the database`, 'Turn fsync and full_page_writes on.'),
    )
  if (server.synchronous_commit === 'off')
    findings.push(
      warning(
        'durability',
        `${settings}: a crash of the server can lose sends of the last moments that were acknowledged`,
        'Set synchronous_commit to on, for the database or the role.',
      ),
    )
  return findings.length > 0 ? findings : [ok('durability', settings)]
}

function checkPermissions(server: Row): Finding {
  if (server.may_create) return ok('permissions', 'this role may create queues')
  return server.has_roles
    ? ok('permissions', 'this role may not create queues; each role has its part, see `tidings migrate --roles`')
    : warning(
        'permissions',
        'this role may not create queues',
        'GRANT CREATE ON SCHEMA pgmq to it, or create queues as another role.',
      )
}

/** One process is compared with each limit; how many processes there are is not known. */
function checkConnections(server: Row, poolMax: number): Finding[] {
  const { connections, max_connections, role, role_limit, database_limit } = server
  const findings: Finding[] = []
  const compare = (what: string, limit: number) => {
    if (limit >= 0 && limit < poolMax)
      findings.push(
        warning(
          'connections',
          `${what} allows ${limit} connections, and this process may open ${poolMax} (pool.max)`,
          'Raise the limit, or lower pool.max until all processes together stay below it.',
        ),
      )
  }
  compare('the server', Number(max_connections))
  compare(`role ${String(role)}`, Number(role_limit))
  compare('the database', Number(database_limit))
  const what = `${connections} of ${max_connections} connections are in use; this process may open ${poolMax}`
  if (Number(connections) >= Number(max_connections) * 0.9)
    findings.push(warning('connections', what, 'Raise max_connections, or put a pooler in front.'))
  return findings.length > 0 ? findings : [ok('connections', what)]
}

function checkWriting(server: Row): Finding {
  return server.read_only === 'off'
    ? ok('writing', 'the server takes writes')
    : problem('writing', 'the server is read only, a standby perhaps', 'Connect to the primary.')
}

/** Databases in which an early `tidings generate-migration` was applied let everybody call its functions. */
function checkOpenFunctions(rows: readonly Row[]): Finding[] {
  if (rows.length === 0) return []
  const more = rows.length > 1 ? ` and ${rows.length - 1} more` : ''
  return [
    problem(
      'permissions',
      `every role may call ${String(rows[0]?.name)}${more}, with the rights of the owner`,
      'Apply the down and the up file of `tidings generate-migration` again, or REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings, tidings_events FROM PUBLIC.',
    ),
  ]
}

async function checkPooler(driver: Driver, { role_limit, database_limit }: Row): Promise<Finding> {
  const { session, release } = await driver.connect('statement')
  release(false)
  // A limit of −1 is none.
  const limits = [Number(role_limit), Number(database_limit)].filter((limit) => limit >= 0)
  const most = Math.min(driver.poolMax, ...limits)
  if (most < fewestForListening)
    return warning(
      'wake-up',
      `this process may have ${most} connections, which leaves none to listen: new messages are found by polling twice a second, and what a killed process had in hand comes back when its leases end`,
      `For less delay, set pool.max and the limits of the role and the database to ${fewestForListening} or more.`,
    )
  return session.isDirect
    ? ok('wake-up', 'connected to the server itself: new messages are announced, and the end of a process is noticed')
    : warning(
        'wake-up',
        'connected through a pooler: new messages are found by polling twice a second, and what a killed process had in hand comes back when its leases end, after up to 50 s',
        'For less delay, give workers a connection to the server itself.',
      )
}

function checkHorizon(rows: readonly Row[]): Finding[] {
  if (rows.length === 0) return [ok('vacuum', 'nothing holds vacuum back')]
  return rows.map(({ what, since_ms }) => {
    const since = since_ms === null ? '' : ` for ${Math.round(Number(since_ms) / 60_000)} min`
    return warning(
      'vacuum',
      `${String(what)} keeps dead rows from being removed${since}`,
      'End the transaction or drop the slot. Claims keep their speed meanwhile; tables grow.',
    )
  })
}

function checkTables(rows: readonly Row[]): Finding[] {
  const findings = rows.flatMap((row) => {
    const { live, dead, bytes, usable, ours } = row
    const table = String(row.relation)
    const found: Finding[] = []
    if (!usable)
      found.push(
        problem('permissions', `this role may not use ${table}`, `GRANT SELECT, INSERT, UPDATE, DELETE on it.`),
      )
    if (row.filtered)
      found.push(
        (row.has_policy ? warning : problem)(
          'row-security',
          `row level security hides rows of ${table} from this role`,
          `Use the owner, a role with BYPASSRLS, or the roles of \`tidings migrate --roles\`.`,
        ),
      )
    if (row.strange)
      found.push(
        problem('permissions', `${table} does not belong to the owner role`, 'Run `tidings migrate --roles` again.'),
      )
    if (Number(dead) > manyDeadRows && Number(dead) > Number(live))
      found.push(
        warning(
          'bloat',
          `${table} has ${Number(dead)} dead rows beside ${Number(live)} (${Math.round(Number(bytes) / 1e6)} MB)`,
          `Run VACUUM ${table}; if that does not help, see what holds vacuum back.`,
        ),
      )
    if (row.unlogged === true)
      found.push(
        warning(
          'durability',
          `${table} is unlogged: a crash of the server empties it`,
          `ALTER TABLE ${table} SET LOGGED, if its messages matter.`,
        ),
      )
    if (!ours)
      found.push(
        warning(
          'layout',
          `${table} was created by another client of PGMQ: it has an index on vt, and claims cost more`,
          `When it is empty, drop it and let Tidings create it.`,
        ),
      )
    return found
  })
  return findings.length > 0
    ? findings
    : [ok('tables', `${rows.filter((row) => row.of_queue).length} queues, none with too many dead rows`)]
}

function checkParked(rows: readonly Row[]): Finding[] {
  return rows.map(({ queue, parked }) =>
    warning(
      'parked',
      `queue '${String(queue)}' has ${Number(parked)} messages that another client has hidden for ever (vt = infinity)`,
      `SELECT pgmq.set_vt('${String(queue)}', …, 0) makes one ready again.`,
    ),
  )
}

function checkPauses(rows: readonly Row[]): Finding[] {
  return rows.map(({ queue }) =>
    warning(
      'pause',
      `queue '${String(queue)}' is paused; clients of PGMQ read from it all the same`,
      `Stop those, too, or end the pause with \`tidings queue resume ${String(queue)}\`.`,
    ),
  )
}

const shownQueues = 5

/** Where the migration of the events was applied, each queue should announce its messages. */
function checkEvents(rows: readonly Row[]): Finding[] {
  const queuesWith = (reason: string) =>
    rows.filter((row) => row.queue !== null && row.reason === reason).map(({ queue }) => String(queue))
  const [untriggered, foreign] = [queuesWith('trigger'), queuesWith('owner')]
  const findings: Finding[] = []
  if (rows.some(({ queue }) => queue === null))
    findings.push(
      warning(
        'events',
        'new queues will not announce their messages: the trigger tidings_events of pgmq.meta is missing or disabled',
        'Apply the down.sql of `tidings generate-migration`, then its up.sql.',
      ),
    )
  if (untriggered.length > 0)
    findings.push(
      warning(
        'events',
        `the trigger tidings_events is missing or disabled, so that nothing announces messages of ${listed(untriggered)}`,
        `As the owner of the tables: SELECT tidings_events.install('${untriggered[0]}'); or ALTER TABLE … ENABLE TRIGGER tidings_events.`,
      ),
    )
  if (foreign.length > 0)
    findings.push(
      warning(
        'events',
        `another role owns the tables than the functions of the events, so that nothing announces messages of ${listed(foreign)}`,
        'Let one role own both.',
      ),
    )
  return findings
}

function listed(queues: readonly string[]): string {
  const more = queues.length > shownQueues ? `, and ${queues.length - shownQueues} more` : ''
  return `${queues
    .slice(0, shownQueues)
    .map((queue) => `'${queue}'`)
    .join(', ')}${more}`
}
