import { allFaults } from './faults/all.ts'
import type { Harness } from './harness.ts'
import { durableMemoryHarness, memoryHarness } from './memory-harness.ts'

/** A memory engine with one planted bug, which a case of its group must catch. */
export interface FaultyEngine {
  /** What the engine does wrong, after 'an engine that'. */
  readonly bug: string
  readonly group: string
  readonly harness: Harness
}

/** They prove that the suite bites: each fails at least one case, and each case fails for at least one of them. */
export const faultyEngines: readonly FaultyEngine[] = allFaults.map(({ bug, group, plant }) => {
  const harness = group === 'durability' ? durableMemoryHarness(plant) : memoryHarness(plant)
  return { bug, group, harness: { ...harness, name: `an engine that ${bug}`, caseTimeoutMs: 100 } }
})
