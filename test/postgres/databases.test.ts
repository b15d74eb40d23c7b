import { connect } from 'tidings/internal/connect'
import { describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { newName, query } from './support.ts'

/** A database with settings of its own, and a role without rights but to connect. */
async function withDatabase(
  server: string,
  { options = '', settings = '' },
  work: (url: string, role: string, asRole: string) => Promise<void>,
): Promise<void> {
  const name = newName('kind')
  const role = newName('role')
  await query(server, `CREATE DATABASE ${name} ${options}`)
  await query(server, `CREATE ROLE ${role} LOGIN`)
  if (settings !== '') await query(server, `ALTER DATABASE ${name} SET ${settings}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const asRole = new URL(url)
  asRole.username = role
  try {
    await work(url.href, role, asRole.href)
  } finally {
    await query(server, `DROP DATABASE ${name} WITH (FORCE)`)
    await query(server, `DROP ROLE ${role}`)
  }
}

describe.each(['postgres15', 'postgres18'] as const)('databases of all kinds on %s', async (version) => {
  const server = await sharedServer(version)

  /** The characters that the encoding holds, and one that it does not. */
  test.each([
    ['LATIN1', 'Zoë', '€'],
    ['WIN1252', 'Zoë €', '👍'],
    ['EUC_JP', '日本', '👍'],
    ['SQL_ASCII', 'Zoë € 日本 👍', null],
  ])('%s keeps what it can hold, and refuses another character by name', async (encoding, held, refused) => {
    const options = `ENCODING '${encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`
    await withDatabase(server, { options }, async (url) => {
      await using bus = await connect(url)
      const queue = bus.queue('jobs')
      await queue.send({ [held]: held }, { meta: { correlationId: held } })
      const [message] = await queue.read()
      expect(message).toMatchObject({ data: { [held]: held }, meta: { correlationId: held } })
      await message!.deadLetter(held)
      expect(await queue.deadLetters.list()).toMatchObject([{ data: { [held]: held } }])
      await bus.topic('news').create()
      await bus.topic('news').publish(held)
      expect(await bus.topic('news').read({ after: 0 })).toMatchObject([{ data: held }])
      if (refused !== null)
        await expect(queue.send(refused)).rejects.toMatchObject({
          code: 'BODY_UNSUPPORTED_CHAR',
          message: expect.stringContaining(encoding),
        })
      expect((await bus.diagnose()).find(({ check }) => check === 'encoding')?.message).toContain(encoding)
    })
  })

  test('strings with backslashes mean the same with standard_conforming_strings off', async () => {
    await withDatabase(server, { settings: 'standard_conforming_strings = off' }, async (url) => {
      await using bus = await connect(url)
      const queue = bus.queue('jobs')
      const text = "it's \\ and \\n and \\' and $1"
      await queue.send(text, { orderingKey: text, dedupId: text, meta: { targetId: text } })
      expect(await queue.read()).toMatchObject([{ data: text, meta: { targetId: text }, orderingKey: text }])
      await query(url, "SELECT pgmq.create('by_pgmq')")
      for (const name of ["a'b", 'a;b', 'a--b', 'a$b'])
        await expect(query(url, 'SELECT pgmq.create($1)', [name])).rejects.toThrow('invalid characters')
    })
  })

  test('what was pending in a topic comes also after its transaction ids have begun anew', async () => {
    await withDatabase(server, {}, async (url) => {
      await using bus = await connect(url)
      const topic = bus.topic('news')
      await topic.create()
      await bus.engine.transaction!((tx) => topic.publish('pending', { tx }))
      await query(url, "UPDATE tidings.topic_pending SET xact = '99999999999'")
      expect(await topic.read({ after: 0 })).toMatchObject([{ data: 'pending' }])
    })
  })

  test('row level security without a policy is an error, and never an empty queue', async () => {
    await withDatabase(server, {}, async (url, role, asRole) => {
      await using owner = await connect(url)
      await owner.queue('jobs').send('hidden')
      await query(
        url,
        `GRANT USAGE ON SCHEMA tidings, pgmq TO ${role}; GRANT ALL ON ALL TABLES IN SCHEMA tidings, pgmq TO ${role};
        GRANT ALL ON ALL SEQUENCES IN SCHEMA pgmq TO ${role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO ${role};
        ALTER TABLE pgmq.q_jobs ENABLE ROW LEVEL SECURITY`,
      )
      const bus = await connect(asRole)
      const refusal = {
        code: 'PERMISSION_DENIED',
        message: expect.stringContaining(`row level security hides all of queue "jobs" from role "${role}"`),
      }
      await expect(bus.queue('jobs').read()).rejects.toMatchObject(refusal)
      await expect(bus.queue('jobs').send(1)).rejects.toMatchObject(refusal)
      expect((await bus.diagnose()).filter(({ check }) => check === 'row-security')).toMatchObject([
        { level: 'problem', message: expect.stringContaining('pgmq.q_jobs') },
      ])
      await query(url, `CREATE POLICY all_of_it ON pgmq.q_jobs TO ${role} USING (true)`)
      expect(await bus.queue('jobs').read()).toMatchObject([{ data: 'hidden' }])
      await bus.close()

      await query(url, 'ALTER TABLE tidings.delayed ENABLE ROW LEVEL SECURITY')
      await expect(connect(asRole)).rejects.toMatchObject({
        code: 'PERMISSION_DENIED',
        message: expect.stringContaining('row level security hides rows of tidings.delayed'),
      })
    })
  })
})
