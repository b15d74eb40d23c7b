import assert from 'node:assert/strict'
import {
  conformanceCases,
  durableMemoryHarness,
  type FaultyEngine,
  faultyEngines,
  memoryHarness,
  runCase,
  skipReason,
} from 'tidings-testkit'
import { describe, test } from 'vitest'

/** Names of the cases of its group that an engine fails. */
async function failures({ group, harness }: FaultyEngine): Promise<string[]> {
  const failed: string[] = []
  for (const one of conformanceCases.filter((one) => one.group === group && skipReason(one, harness) === null))
    await runCase(one, harness).catch(() => failed.push(one.name))
  return failed
}

describe('the suite catches an engine that', () => {
  const caught = new Set<string>()

  for (const faulty of faultyEngines)
    test(`${faulty.bug} (${faulty.group})`, async ({ annotate }) => {
      const failed = await failures(faulty)
      await annotate(`caught by: ${failed.join('; ') || 'nothing'}`)
      assert(failed.length > 0, 'no case caught it')
      for (const name of failed) caught.add(`${faulty.group}: ${name}`)
    })

  test('every case catches something', () => {
    const harnesses = [memoryHarness(), durableMemoryHarness()]
    const tried = conformanceCases.filter((one) => harnesses.some((harness) => skipReason(one, harness) === null))
    const toothless = tried.map((one) => `${one.group}: ${one.name}`).filter((id) => !caught.has(id))
    assert.deepEqual(toothless, [])
  })
})
