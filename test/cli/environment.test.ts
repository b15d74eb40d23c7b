import { userInfo } from 'node:os'
import { redact, targetOf } from 'tidings-cli/internal/environment'
import { describe, expect, it } from 'vitest'
import { tidings, write } from './support.ts'

const local = { url: 'local:.tidings', source: 'the default' }
const all = {
  TIDINGS_URL: 'postgres://one',
  PGMQ_DSN: 'postgres://two',
  DATABASE_URL: 'postgres://three',
  REDIS_URL: 'redis://four',
  PGHOST: 'five',
  PGDATABASE: 'db',
}
const without = (...names: string[]) =>
  Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)))

describe('where the URL comes from', () => {
  const user = userInfo().username

  it.each([
    ['--url', 'memory:', all, 'memory:', '--url'],
    ['TIDINGS_URL', undefined, all, 'postgres://one', 'TIDINGS_URL'],
    ['PGMQ_DSN', undefined, without('TIDINGS_URL'), 'postgres://two', 'PGMQ_DSN'],
    ['DATABASE_URL', undefined, without('TIDINGS_URL', 'PGMQ_DSN'), 'postgres://three', 'DATABASE_URL'],
    ['REDIS_URL', undefined, without('TIDINGS_URL', 'PGMQ_DSN', 'DATABASE_URL'), 'redis://four', 'REDIS_URL'],
    ['PG*', undefined, { PGHOST: 'h', PGDATABASE: 'd' }, `postgres://${user}@h/d`, 'PGHOST, PGDATABASE'],
    [
      'PG* with all',
      undefined,
      { PGHOST: '::1', PGPORT: '6', PGDATABASE: 'a/b', PGUSER: 'u@x', PGPASSWORD: 'p:/', PGSSLMODE: 'require' },
      'postgres://u%40x:p%3A%2F@[::1]:6/a%2Fb?sslmode=require',
      'PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD',
    ],
    [
      'PG* with a socket',
      undefined,
      { PGHOST: '/run/postgresql', PGDATABASE: 'd', PGUSER: 'u', PGPASSWORD: '' },
      'postgres://u@%2Frun%2Fpostgresql/d',
      'PGHOST, PGDATABASE, PGUSER',
    ],
  ])('%s', (_, flag, env, url, source) => {
    expect(targetOf(flag, env)).toEqual({ url, source })
  })

  it('is the local PostgreSQL where nothing says otherwise', () => {
    expect(targetOf(undefined, { PGSSLMODE: 'disable', PGHOST: '' })).toEqual(local)
  })

  it('may stand in a file', () => {
    const file = write('secret', 'postgres://from-a-file\n')
    expect(targetOf(undefined, { DATABASE_URL_FILE: file })).toEqual({
      url: 'postgres://from-a-file',
      source: 'DATABASE_URL_FILE',
    })
    const utf16 = write('utf16', [...'postgres://h'].join('\0'))
    expect(() => targetOf(undefined, { DATABASE_URL_FILE: utf16 })).toThrow(/DATABASE_URL_FILE .* UTF-16/)
    const password = write('password', 's3cret\n')
    const env = { PGHOST: 'h', PGDATABASE: 'd', PGUSER: 'u', PGPASSWORD_FILE: password }
    expect(targetOf(undefined, env).url).toBe('postgres://u:s3cret@h/d')
  })

  it.each([
    [{ PGHOST: 'h' }, 'PGHOST is set, but not PGDATABASE'],
    [{ PGUSER: 'u', PGPASSWORD: 'p' }, 'PGUSER, PGPASSWORD are set, but not PGHOST and PGDATABASE'],
    [{ DATABASE_URL: '' }, 'DATABASE_URL is set, but empty'],
    [{ TIDINGS_URL: 'x', TIDINGS_URL_FILE: 'y' }, 'TIDINGS_URL and TIDINGS_URL_FILE are both set'],
    [{ PGMQ_DSN_FILE: '/nowhere' }, /^the file that PGMQ_DSN_FILE names cannot be read: ENOENT/],
  ])('%j is refused', (env, message) => {
    expect(() => targetOf(undefined, env)).toThrow(message)
  })
})

describe('.env', () => {
  it('is read; the environment goes before it', async () => {
    write('with-env/.env', 'DATABASE_URL=postgres://u:s3cret@127.0.0.1:1/db\n')
    const cwd = write('with-env/x', '').slice(0, -2)
    expect(await tidings(['status'], { cwd })).toEqual({
      code: 1,
      stdout: '',
      stderr:
        'error: cannot connect to PostgreSQL at 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1\n' +
        'hint: Check that the server runs, and the host, port, user and password. (The URL comes from DATABASE_URL.)\n',
    })
    const { code, stdout } = await tidings(['status'], { cwd, env: { DATABASE_URL: 'memory:' } })
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'no queues yet\n' })
  })
})

describe('a URL for people', () => {
  it.each([
    ['postgres://u:s3cret@h:5432/d', 'postgres://u:***@h:5432/d'],
    ['postgres://u:s3c@ret/x@h/d', 'postgres://u:***@h/d'],
    ['postgres://u@h/d?password=s3cret&sslmode=require', 'postgres://u@h/d?password=***&sslmode=require'],
    ['local:.tidings', 'local:.tidings'],
  ])('%s', (url, shown) => {
    expect(redact(url)).toBe(shown)
  })
})
