import { existsSync } from 'node:fs'
import pg from 'pg'
import type { StressReport } from 'tidings-testkit/internal/stress/stress'
import { describe, expect, test } from 'vitest'
import { folder, ownDatabase, tidings } from '../cli/support.ts'

type Flags = Readonly<Record<string, string>>

/** A run is short, and where its kills and delays fall is chance: what one does not show, the next one may. */
const seeds = ['7', '8', '9', '10']

/** Few kinds of processes, so that kills meet those that matter. */
const brief: Flags = {
  seconds: '3',
  queues: '2',
  topics: '0',
  producers: '2',
  workers: '3',
  rate: '150',
  drain: '4s',
  'kill-every': '400ms',
  history: folder,
}

interface Bug {
  /** Functions of the database, with what stands in them and what is to. */
  readonly sql?: Readonly<Record<string, readonly [find: RegExp | string, replace: string]>>
  /** A module below `bugs/` that changes the actors. */
  readonly preload?: string
  readonly flags?: Flags
  /** The kind and the text of the violation. */
  readonly found: readonly [StressReport['violations'][number]['kind'], RegExp]
}

const locks = [/FOR UPDATE SKIP LOCKED/g, ''] as const

const bugs: Record<string, Bug> = {
  'takes any receipt for good': {
    sql: {
      texts_of_queue: [/(?<=q\.msg_id = e\.i) AND q\.read_ct = e\.r AND q\.vt = .*/, ''],
      proof_expression: [/\(q\.msg_id = [^$]*\)(?=\$sql\$)/, "(q.msg_id = (e ->> 'i')::bigint)"],
    },
    found: ['stale settlement', /was settled as attempt \d+ when it was in other hands already/],
  },
  'does not lock what it reads': {
    sql: { texts_of_queue: locks, picking_text: locks },
    found: ['delivered twice', /was leased again during its lease of attempt \d+/],
  },
  'never looks behind its mark again': {
    sql: {
      texts_of_queue: [/CASE WHEN sweep THEN 0 ELSE mark END/g, 'mark'],
      sweep_step: ['msg_id > $2', 'false AND msg_id > $2'],
    },
    // A new process begins without a mark.
    flags: { 'kill-every': '0ms' },
    found: ['stuck', /messages of \w+ are left/],
  },
  'makes a dead letter in two steps, the copy first': {
    preload: 'two-step-dead-letter.mjs?first=copy',
    flags: { seconds: '6', producers: '1', workers: '4', rate: '300', 'kill-every': '300ms' },
    found: ['two states', /is in two places: dead letters and dead letters/],
  },
  'makes a dead letter in two steps, the copy last': {
    preload: 'two-step-dead-letter.mjs?first=delete',
    flags: { seconds: '6', producers: '1', workers: '4', rate: '300', 'kill-every': '300ms' },
    found: ['lost', /was acknowledged and is gone: nobody ended it/],
  },
  'ignores ordering keys': {
    sql: { texts_of_queue: [/(NOT settings\.has_keys AND|(settings\.has|found)_keys OR) /g, ''] },
    found: ['order of a key', /started before \S+, sent before it, was over/],
  },
  'settles before the handler': {
    preload: 'settle-before-handler.mjs',
    found: ['lost', /was acknowledged and is gone: nobody ended it/],
  },
  'forgets dedup ids': {
    sql: { holder_of_dedup_id: [/SELECT d\.msg_id[^$]*/, 'SELECT NULL::bigint\n'] },
    found: ['stored twice', /was sent with one dedup id, and has the ids \d+, \d+/],
  },
  'acknowledges an offset before the handler': {
    preload: 'acknowledge-before-handler.mjs',
    flags: { topics: '2', subscribers: '3', workers: '1', 'kill-every': '300ms' },
    found: ['passed over', /received offset \d+ before \d+ was handled/],
  },
}

async function plant(url: string, sql: Required<Bug>['sql']): Promise<void> {
  expect((await tidings(['migrate'], { env: { DATABASE_URL: url } })).code).toBe(0)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const [name, [find, replace]] of Object.entries(sql)) {
      const { rows } = await client.query('SELECT pg_get_functiondef($1::regproc) AS text', [`tidings.${name}`])
      const text: string = rows[0].text.replace(find, () => replace)
      expect(text, `${name} has no ${find}`).not.toBe(rows[0].text)
      await client.query(text)
    }
  } finally {
    await client.end()
  }
}

describe('stress in several processes on PostgreSQL', { timeout: 300_000 }, () => {
  const run = async ({ sql = {}, preload, flags }: Omit<Bug, 'found'>) => {
    const url = await ownDatabase()
    await plant(url, sql)
    const file = preload && new URL(`bugs/${preload}`, import.meta.url)
    if (file) expect(existsSync(file)).toBe(true)
    const env = { DATABASE_URL: url, ...(file ? { NODE_OPTIONS: `--import ${file.href}` } : {}) }
    const args = Object.entries({ ...brief, ...flags }).map(([name, value]) => `--${name}=${value}`)
    const { code, stdout, stderr } = await tidings(['stress', '--json', ...args], { env })
    expect(stdout, stderr).not.toBe('')
    return { code, report: JSON.parse(stdout) as StressReport }
  }

  test('finds nothing where there is nothing', async () => {
    const provoked = { duplicates: 0, leasesLost: 0, deadLettered: 0 }
    for (const seed of seeds) {
      const { code, report } = await run({ flags: { seed, topics: '2', subscribers: '2', rate: '60', drain: '60s' } })
      expect(report.violations).toEqual([])
      expect(report.valid).toBe(true)
      expect(code).toBe(0)
      for (const name of Object.keys(provoked) as (keyof typeof provoked)[]) provoked[name] += report.figures[name]
      if (Object.values(provoked).every((count) => count > 0)) break
    }
    // What provokes the faults below did take place.
    expect(Object.values(provoked), JSON.stringify(provoked)).not.toContain(0)
  })

  test.each(Object.entries(bugs))('catches a storage that %s', async (_, { found: [kind, text], ...bug }) => {
    const expected = expect.objectContaining({ kind, text: expect.stringMatching(text) })
    const seen: string[] = []
    for (const seed of seeds) {
      const { code, report } = await run({ ...bug, flags: { ...bug.flags, seed } })
      seen.push(...report.violations.map((one) => `${one.kind}: ${one.text}`))
      if (!report.violations.some((one) => expected.asymmetricMatch(one))) continue
      expect(report.valid).toBe(false)
      expect(code).toBe(1)
      return
    }
    expect.fail(`not found in ${seeds.length} runs: ${seen.join(', ')}`)
  })
})
