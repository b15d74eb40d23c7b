import { describe, test } from 'vitest'
import { defineConformance, durableMemoryHarness, memoryHarness } from '../src/testkit/index.ts'

const skip = (name: string, reason: string) => test.skip(`${name} (${reason})`, () => {})

defineConformance({ describe, test, skip }, memoryHarness())
defineConformance({ describe, test, skip }, durableMemoryHarness())
