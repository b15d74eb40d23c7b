import { defineConformance } from 'tidings-testkit'
import { test } from 'vitest'
import { runner } from './support/conformance.ts'
import { postgresHarness, redisHarness } from './support/harnesses.ts'
import { defineOverHttp, overPostgres } from './support/http-conformance.ts'
import { sharedServer } from './support/shared-servers.ts'

defineConformance(runner, postgresHarness('PostgreSQL 15', await sharedServer('postgres15')))

const valkey = await sharedServer('valkey')
if (valkey === '') test.skip('Valkey (its package cannot be had here)', () => {})
else defineConformance(runner, redisHarness('Valkey', valkey))

defineOverHttp('HTTP over PostgreSQL 18', overPostgres)
