import { allCases } from './cases/all.ts'
import type { ConformanceCase } from './group.ts'
import type { Harness } from './harness.ts'
import { Scene } from './scene.ts'

/** The part of a test runner that the suite needs; vitest's and node:test's functions fit with a line each. */
export interface Runner {
  describe(name: string, define: () => void): void
  test(name: string, run: () => Promise<void>): void
  skip(name: string, reason: string): void
}

/** Registers every case of the contract with the test runner, a `describe` for each group. */
export function defineConformance(runner: Runner, harness: Harness): void {
  checkHarness(harness)
  runner.describe(`conformance of ${harness.name}`, () => {
    for (const group of new Set(allCases.map((one) => one.group)))
      runner.describe(group, () => {
        for (const one of allCases.filter((one) => one.group === group)) {
          const reason = skipReason(one, harness)
          if (reason === null) runner.test(one.name, () => runCase(one, harness))
          else runner.skip(one.name, reason)
        }
      })
  })
}

/** Runs one case with an engine and queues of its own, and cleans up after it. Rejects if the engine fails it. */
export async function runCase(one: ConformanceCase, harness: Harness): Promise<void> {
  const scene = await Scene.open(harness)
  try {
    await withDeadline(one.run(scene), harness.caseTimeoutMs ?? 45_000)
  } catch (error) {
    // The first error tells more than one of the cleaning up.
    await scene.close(false).catch(() => {})
    throw error
  }
  await scene.close(true)
}

/** Why the case does not apply to this engine; null if it does. */
export function skipReason(one: ConformanceCase, harness: Harness): string | null {
  const known = harness.skips?.[caseId(one)]
  if (known !== undefined) return known
  const missing = one.needs.filter((feature) => !harness.supports.includes(feature))
  if (missing.length > 0) return `the engine has no '${missing.join("', '")}'`
  const present = one.lacks.filter((feature) => harness.supports.includes(feature))
  if (present.length > 0) return `only for engines without '${present.join("', '")}'`
  return null
}

const caseId = (one: ConformanceCase) => `${one.group}: ${one.name}`

/** A harness that leaves something out must not pass for an engine that conforms. */
function checkHarness(harness: Harness): void {
  const ids = new Set(allCases.map(caseId))
  for (const id of Object.keys(harness.skips ?? {}))
    if (!ids.has(id)) throw new Error(`${harness.name} skips '${id}', which is no case of the suite`)
  if (harness.supports.includes('transactions') && harness.transaction === undefined)
    throw new Error(`${harness.name} supports 'transactions', so its harness needs 'transaction'`)
  if (harness.supports.includes('durable') && harness.secondEngine === undefined)
    throw new Error(`${harness.name} is durable, so its harness needs 'secondEngine'`)
}

async function withDeadline(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const hung = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still waiting after ${milliseconds} ms`)), milliseconds)
  })
  try {
    await Promise.race([work, hung])
  } finally {
    clearTimeout(timer)
  }
}
