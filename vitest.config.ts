import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { mutationPlugin } from './test/conformance/mutations.ts'
import { clearEnvironment } from './test/support/environment.ts'
import { SecondTries } from './test/support/second-tries.ts'

const packages = fileURLToPath(new URL('packages', import.meta.url))

// Before the processes of the tests are made.
clearEnvironment()

/** Files that take long come first, so that none of them is left to run alone at the end. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) =>
      /\/conformance\.(?!memory)|\/(local|storages)\/|\/(lives|half-open|bugs|idle|docs|examples)\.|\/cli\/(local|sentinel|process|stress)\.|\/processor\.|\/events\/postgres|\/postgres\/(topics|limits|roles|failover)/.test(
        moduleId,
      )
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))]
  }
}

/** The packages as their sources are, where nothing runs in another process; elsewhere they are tested as compiled. */
const sources = {
  alias: [
    { find: /^tidings\/(testing|pgmq)$/, replacement: `${packages}/tidings/src/$1.ts` },
    { find: /^tidings\/internal\/(.+)$/, replacement: `${packages}/tidings/src/$1.ts` },
    { find: /^tidings-(\w+)\/internal\/(.+)$/, replacement: `${packages}/$1/src/$2.ts` },
    { find: /^tidings-(\w+)$/, replacement: `${packages}/$1/src/index.ts` },
    { find: /^tidings$/, replacement: `${packages}/tidings/src/index.ts` },
  ],
}

const all = 'test/**/*.test.ts'
/** Campaigns that kill processes and servers, what waits for somebody to notice, and further versions. */
const chaos = [
  'test/conformance.versions.test.ts',
  'test/storages/*.test.ts',
  'test/{postgres,redis,server}/{lives,half-open}.test.ts',
  'test/postgres/{failover,idle}.test.ts',
  'test/stress/*.test.ts',
  'test/**/chaos.test.ts',
  'test/cli/stress.test.ts',
  'test/dashboard/looks.test.ts',
  'test/local/{first-use,recovery}.test.ts',
  'test/postgres/topics-server.test.ts',
  'test/redis/{cluster,durability,idle,sentinel}.test.ts',
]
/** In this process alone: a test that asks for a server fails. */
const unit = [
  'test/*.memory.test.ts',
  'test/conformance/*.test.ts',
  'test/testing.test.ts',
  'test/{config,router,unit}/*.test.ts',
  'test/queue/!(replay).test.ts',
  'test/topic/!(transactions).test.ts',
  'test/architecture.test.ts',
  'test/worker/!(processor|transactional).test.ts',
  'test/adapters/recognise.test.ts',
]

const broker = { globalSetup: ['test/support/global-setup.ts'] }
/** Campaigns have processes of their own, which they may leave in any state. */
const sharedProcesses = { isolate: false, setupFiles: ['test/support/fresh-modules.ts'] }

export default defineConfig({
  plugins: [mutationPlugin()],
  test: {
    pool: 'forks',
    // More than there are cores: most tests wait. Those of the chaos project are processes that work, see its script.
    maxWorkers: 4,
    maxConcurrency: 8,
    sequence: { sequencer: LongestFirst },
    // For what waits for ever; how long a test takes is up to the machine.
    testTimeout: 120_000,
    hookTimeout: 300_000,
    // A test that fails once is a fault, of the test or of the product: the run names it at its end, and goes on.
    retry: 1,
    reporters: ['default', ...(process.env.GITHUB_ACTIONS ? ['github-actions'] : []), new SecondTries()],
    // The built code is what Node loads, not what Vite makes of it.
    server: { deps: { external: [/\/dist\//] } },
    projects: [
      {
        extends: true,
        resolve: sources,
        test: {
          name: 'unit',
          include: unit,
          exclude: chaos,
          // What files import is loaded once a process, which halves the run: no file leaves anything behind.
          isolate: false,
          provide: { broker: '' },
        },
      },
      {
        extends: true,
        test: { name: 'servers', include: [all], exclude: [...unit, ...chaos], ...broker, ...sharedProcesses },
      },
      { extends: true, test: { name: 'chaos', include: chaos, ...broker } },
      // Pictures for people, by npm run dashboard:screens; no test of anything.
      { extends: true, test: { name: 'screens', include: ['test/dashboard/screens.ts'], ...broker } },
    ],
  },
})
