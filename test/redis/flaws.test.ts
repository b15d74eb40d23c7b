import { flawless, flawsOf, type Product } from 'tidings/internal/engines/redis/flaws'
import { describe, expect, test } from 'vitest'

const pattern = 'CVE-2024-31228'
const scripts = ['CVE-2025-46817', 'CVE-2025-46818', 'CVE-2025-49844']
const blocked = 'CVE-2026-23479'

describe('which known flaws a version may have', () => {
  const table: readonly (readonly [Product, string, readonly string[]])[] = [
    ['redis', '7.0.15', [pattern, ...scripts]],
    ['redis', '7.2.0', [pattern, ...scripts, blocked]],
    ['redis', '7.2.5', [pattern, ...scripts, blocked]],
    ['redis', '7.2.6', [...scripts, blocked]],
    ['redis', '7.2.10', [...scripts, blocked]],
    ['redis', '7.2.11', [blocked]],
    ['redis', '7.2.13', [blocked]],
    ['redis', '7.2.14', []],
    ['redis', '7.4.0', [pattern, ...scripts, blocked]],
    ['redis', '7.4.1', [...scripts, blocked]],
    ['redis', '7.4.6', [blocked]],
    ['redis', '7.4.10', []],
    ['redis', '8.0.3', [...scripts, blocked]],
    ['redis', '8.0.4', [blocked]],
    ['redis', '8.2.1', [...scripts, blocked]],
    ['redis', '8.2.5', [blocked]],
    ['redis', '8.2.6', []],
    ['redis', '8.4.2', [blocked]],
    ['redis', '8.6.2', [blocked]],
    ['redis', '8.6.3', []],
    ['redis', '8.8.0', []],
    ['redis', '10.0.0', []],
    ['valkey', '7.2.6', [pattern, ...scripts, blocked]],
    ['valkey', '7.2.7', [...scripts, blocked]],
    ['valkey', '7.2.13', []],
    ['valkey', '8.0.0', [pattern, ...scripts, blocked]],
    ['valkey', '8.0.6', [blocked]],
    ['valkey', '8.0.9', []],
    ['valkey', '8.1.3', [...scripts, blocked]],
    ['valkey', '8.1.6', [blocked]],
    ['valkey', '8.1.7', []],
    ['valkey', '9.0.0', [blocked]],
    ['valkey', '9.0.4', []],
    ['valkey', '9.1.0', []],
  ]

  test.each(table)('%s %s', (product, version, expected) => {
    expect(flawsOf(product, version)).toEqual(expected)
  })

  test('what to upgrade to has none', () => {
    expect(flawless('redis')).toEqual(['7.2.14', '7.4.9', '8.2.6', '8.4.3', '8.6.3'])
    expect(flawless('valkey')).toEqual(['7.2.13', '8.0.9', '8.1.7', '9.0.4'])
  })
})
