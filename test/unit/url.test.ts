import assert from 'node:assert/strict'
import { connect } from 'tidings/internal/connect'
import { isTidingsError } from 'tidings/internal/core/errors'
import { distrust } from 'tidings/internal/core/trust'
import { checkUrl } from 'tidings/internal/core/url'
import { describe, test } from 'vitest'

/** A password with every character that ends an authority, before and behind parts that a message might show. */
const passwords = ['/', '#', '?'].flatMap((mark) => [`Qx7${mark}zWk9`, `8841${mark}zWk9`, `${mark}zWk9`, `zWk9${mark}`])
const bases = [
  (password: string) => `redis://:${password}@127.0.0.1:1`,
  (password: string) => `redis://app:${password}@127.0.0.1:1/0`,
  (password: string) => `rediss://:${password}@127.0.0.1:1,127.0.0.1:2`,
  (password: string) => `redis+cluster://app:${password}@127.0.0.1:1`,
  (password: string) => `unix://app:${password}@/run/x.sock`,
  (password: string) => `postgres://app:${password}@127.0.0.1:1/shop`,
  (password: string) => `postgresql://app:${password}@/shop?host=/run`,
  (password: string) => `http://app:${password}@127.0.0.1:1`,
  (password: string) => `https://app:${password}@127.0.0.1:1`,
  (password: string) => `mysql://app:${password}@127.0.0.1:1`,
]

describe('a password that is not percent-encoded', () => {
  test.each(passwords.flatMap((password) => bases.map((base) => base(password))))('%s', async (url) => {
    const error = await connect(url).then(
      () => assert.fail('connected'),
      (thrown) => thrown,
    )
    assert(isTidingsError(error, 'URL_INVALID'))
    const shown = `${error.stack} ${error.message} ${error.hint} ${JSON.stringify(error.details)} ${error.cause}`
    assert.doesNotMatch(shown, /zWk9|Qx7|8841/)
    assert.match(error.hint, /percent|%2F/i)
  })

  test.each([
    'redis://app:zWk9',
    'redis://a:zWk9:1',
    'redis://zWk9@h/zWk9',
    'redis://:%zWk9@h',
    'postgres://a:zWk9@[x/y',
  ])('nor is anything shown of %s', async (url) => {
    const error = await connect(url).catch((thrown) => thrown)
    assert(isTidingsError(error, 'URL_INVALID'))
    assert.doesNotMatch(JSON.stringify(error) + error.stack, /zWk9/)
    assert.match(error.hint, /%2F/)
  })
})

test('an @ in its place, or in a name of a directory, is none', () => {
  for (const [url, kind] of [
    ['postgres://app:p%40ss@host/db?application_name=x', 'postgres'],
    ['redis://app:a@b@host', 'redis'],
    ['unix:///run/redis.sock?db=1', 'redis'],
    ['local:./a@b', 'local'],
    ['redis+local:./a@b', 'redis+local'],
    ['https://host:8080/below', 'http'],
  ] as const)
    assert.equal(checkUrl(url), kind)
})

test('files are trusted that nobody else than this user and root can change', () => {
  assert.equal(distrust({ mode: 0o100644, uid: 0 }, 1000), undefined)
  assert.equal(distrust({ mode: 0o100664, uid: 1000 }, 1000), undefined)
  assert.match(distrust({ mode: 0o100644, uid: 1001 }, 1000)!.why, /another user \(uid 1001\)/)
  assert.match(distrust({ mode: 0o100644, uid: 1000 }, 0)!.why, /another user \(uid 1000\)/)
  assert.match(distrust({ mode: 0o100646, uid: 0 }, 0)!.why, /everybody/)
})
