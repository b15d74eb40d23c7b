import { defineConformance, durableMemoryHarness, memoryHarness } from 'tidings-testkit'
import { describe, test } from 'vitest'

const skip = (name: string, reason: string) => test.skip(`${name} (${reason})`, () => {})

defineConformance({ describe, test, skip }, memoryHarness())
defineConformance({ describe, test, skip }, durableMemoryHarness())
