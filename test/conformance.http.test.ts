import { conformanceCases, type Runner } from 'tidings-testkit'
import { expect, test } from 'vitest'
import { runner } from './support/conformance.ts'
import { defineOverHttp, overPostgres } from './support/http-conformance.ts'

defineOverHttp('HTTP over memory', {
  storage: async () => 'memory:',
  supports: ['durable', 'topics', 'limits'],
  skips: { 'durability: a message that has to be on disk is stored like any other': 'memory has no disk' },
})

/** Where the storage shows through: what lasts, wakes, proves a lease, or is read in every state. All of it is a campaign. */
const groups = ['disk', 'durability', 'lifecycle', 'receipts', 'sizes', 'topic lifecycle', 'topic watching', 'watching']
const someGroups: Runner = {
  ...runner,
  describe: (name, define) => {
    if (name.startsWith('conformance of ') || groups.includes(name)) runner.describe(name, define)
  },
}
defineOverHttp('HTTP over PostgreSQL 18', overPostgres, someGroups)

test('those groups are there', () => {
  const all = new Set(conformanceCases.map(({ group }) => group))
  expect(groups.filter((group) => !all.has(group))).toEqual([])
})
