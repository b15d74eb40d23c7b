import { checkUrlAllowed, guardedLookup, isPublic } from 'tidings/internal/sentinel/addresses'
import { describe, expect, test } from 'vitest'
import { refusal } from '../queue/support.ts'

describe('an address is public', () => {
  test.each([
    '1.1.1.1',
    '93.184.216.34',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '169.253.255.255',
    '223.255.255.255',
    '2606:2800:220:1:248:1893:25c8:1946',
    '2a00:1450:4001:81b::200e',
    '2001:200::1',
  ])('%s', (address) => expect(isPublic(address)).toBe(true))
})

describe('an address is not public', () => {
  test.each([
    ['this network', '0.0.0.0'],
    ['private', '10.1.2.3'],
    ['private', '172.16.0.1'],
    ['private', '172.31.255.255'],
    ['private', '192.168.1.1'],
    ['shared by customers of one provider', '100.64.0.1'],
    ['shared by customers of one provider', '100.127.255.255'],
    ['loopback', '127.0.0.1'],
    ['loopback', '127.255.255.254'],
    ['of the cloud itself', '169.254.169.254'],
    ['for protocols', '192.0.0.8'],
    ['documentation', '192.0.2.1'],
    ['benchmarks', '198.19.255.255'],
    ['documentation', '203.0.113.7'],
    ['multicast', '224.0.0.1'],
    ['reserved', '240.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['unspecified', '::'],
    ['loopback', '::1'],
    ['loopback in long', '0:0:0:0:0:0:0:1'],
    ['IPv4 in IPv6', '::ffff:127.0.0.1'],
    ['IPv4 in IPv6, in hexadecimal', '::ffff:7f00:1'],
    ['public IPv4 in IPv6, which no name server says', '::ffff:1.1.1.1'],
    ['IPv4-compatible', '::127.0.0.1'],
    ['IPv4 behind NAT64', '64:ff9b::7f00:1'],
    ['IPv4 in 6to4', '2002:7f00:1::1'],
    ['IPv4 in Teredo', '2001:0:7f00:1::1'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%lo'],
    ['public with a zone', '2606:4700::1%lo'],
    ['unique local', 'fd00:ec2::254'],
    ['site-local', 'fec0::1'],
    ['multicast', 'ff02::1'],
    ['documentation', '2001:db8::1'],
    ['documentation', '3fff::1'],
    ['no address', 'localhost'],
    ['no address', ''],
  ])('%s: %s', (_, address) => expect(isPublic(address)).toBe(false))
})

describe('a URL is refused before anything is looked up', () => {
  test.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://0x7f.0.0.1/',
    'http://2130706433/',
    'http://017700000001/',
    'http://[::1]:5432/',
    'http://[::ffff:169.254.169.254]/',
    'http://169.254.169.254/latest/meta-data/',
    'https://10.0.0.1/hook',
    'http://１２７.0.0.1/',
    'file:///etc/passwd',
    'ftp://example.com/',
    'gopher://example.com/',
    'javascript:alert(1)',
    'redis://example.com:6379/',
    'https://user:secret@example.com/',
    'https://token@example.com/',
    'example.com/hook',
    '',
  ])('%s', async (url) => {
    const error = await refusal(() => checkUrlAllowed(url, false, 'webhook.url'), 'URL_NOT_ALLOWED')
    expect(error.message).not.toContain('secret')
  })

  test('a URL with a public address, or with an allowed private one, is accepted', () => {
    expect(checkUrlAllowed('https://1.1.1.1/x', false, 'url').hostname).toBe('1.1.1.1')
    expect(checkUrlAllowed('http://127.0.0.1:8080/', true, 'url').port).toBe('8080')
  })

  test('private addresses that are allowed allow no other protocols', async () => {
    await refusal(() => checkUrlAllowed('file:///etc/passwd', true, 'url'), 'URL_NOT_ALLOWED')
  })
})

describe('a host', () => {
  const publicOne = { address: '93.184.216.34', family: 4 }
  const look = (answers: { address: string; family: number }[][], allowPrivate = false, all = true) => {
    let asked = 0
    const lookup = guardedLookup(allowPrivate, async () => answers[Math.min(asked++, answers.length - 1)] ?? [])
    const found = new Promise<unknown>((resolve, reject) =>
      lookup('hooks.example', { all }, (error, address) => (error ? reject(error) : resolve(address))),
    )
    return { found, asked: () => asked }
  }

  test.each(['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1'])(
    'of %s is refused',
    async (address) => {
      await refusal(() => look([[{ address, family: address.includes(':') ? 6 : 4 }]]).found, 'URL_NOT_ALLOWED')
    },
  )

  test('with one private address among public ones is refused', async () => {
    await refusal(() => look([[publicOne, { address: '127.0.0.1', family: 4 }]]).found, 'URL_NOT_ALLOWED')
  })

  test('is looked up once: the socket gets the checked address, even if the name server changes its answer', async () => {
    const { found, asked } = look([[publicOne], [{ address: '127.0.0.1', family: 4 }]])
    expect(await found).toEqual([publicOne])
    expect(asked()).toBe(1)
  })

  test('may be private if private addresses are allowed', async () => {
    expect(await look([[{ address: '127.0.0.1', family: 4 }]], true, false).found).toBe('127.0.0.1')
  })

  test('without an address is an error', () => expect(look([[]]).found).rejects.toThrow('has no address'))
})
