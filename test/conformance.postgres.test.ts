import { defineConformance } from 'tidings-testkit'
import { runner } from './support/conformance.ts'
import { postgresHarness } from './support/harnesses.ts'
import { sharedServer } from './support/shared-servers.ts'

defineConformance(runner, postgresHarness('PostgreSQL 18', await sharedServer('postgres18')))
