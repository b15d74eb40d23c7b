import assert from 'node:assert/strict'
import {
  type ConformanceCase,
  conformanceCases,
  durableMemoryHarness,
  type Harness,
  memoryHarness,
  runCase,
  skipReason,
} from 'tidings-testkit'
import { describe, test } from 'vitest'
import { type Mutation, mutated, readMutations, sourceOf } from './mutations.ts'

interface Harnesses {
  memoryHarness(): Harness
  durableMemoryHarness(): Harness
}

/** The engine that a case is tried on: in memory, or else connections to one in memory; undefined if it fits neither. */
function harnessFor(one: ConformanceCase, { memoryHarness, durableMemoryHarness }: Harnesses): Harness | undefined {
  return [memoryHarness(), durableMemoryHarness()].find((harness) => skipReason(one, harness) === null)
}

const cases = new Map(conformanceCases.map((one) => [`${one.group}: ${one.name}`, one]))
const sound: Harnesses = { memoryHarness, durableMemoryHarness }
const tried = [...cases].filter(([, one]) => harnessFor(one, sound) !== undefined).map(([id]) => id)
const mutations = readMutations()

test('every case catches a fault', () => {
  const named = mutations.flatMap(({ caughtBy }) => caughtBy)
  assert.deepEqual({ toothless: tried.filter((id) => !named.includes(id)) }, { toothless: [] })
  assert.deepEqual({ unknown: named.filter((id) => !tried.includes(id)) }, { unknown: [] })
})

describe.concurrent('the suite catches', () => {
  for (const mutation of mutations)
    test(titleOf(mutation), async () => {
      const { file, find, caughtBy } = mutation
      assert.equal(sourceOf(file).split(find).length - 1, 1, `how often ${file} has the text`)
      const harnesses: Harnesses = await import(mutated('packages/testkit/src/memory-harness.ts', mutation))
      const named = caughtBy.length > 0 ? caughtBy : tried
      const outcomes = await Promise.all(named.map((id) => isCaught(id, harnesses)))
      const caught = named.filter((_, index) => outcomes[index])
      // Without names, this tells which cases can be named.
      assert.deepEqual(caughtBy, caught, 'cases that catch it')
    })
})

async function isCaught(id: string, harnesses: Harnesses): Promise<boolean> {
  const one = cases.get(id)!
  try {
    await runCase(one, { ...harnessFor(one, harnesses)!, caseTimeoutMs: 500 })
    return false
  } catch (error) {
    // The bug has a bug of its own.
    if (error instanceof ReferenceError) throw error
    return true
  }
}

function titleOf({ file, find, replace }: Mutation): string {
  const [old, changed] = [find, replace].map((text) => text.replaceAll(/\s+/g, ' '))
  return `${file.replace(/.*\//, '')}: ${old} → ${changed || 'nothing'}`
}
