/** The contract of the engine port as executable cases, for any test runner: see docs/engines/port.md. */
export { allCases as conformanceCases } from './cases/all.ts'
export { defineConformance, type Runner, runCase, skipReason } from './conformance.ts'
export type { ConformanceCase } from './group.ts'
export type { Harness } from './harness.ts'
export { durableMemoryHarness, memoryHarness } from './memory-harness.ts'
export type { Scene } from './scene.ts'
