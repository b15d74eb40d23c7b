import { describe, test } from 'vitest'
import { MemoryEngine } from '../src/engines/memory/memory.ts'
import { FakeClock } from '../src/testing.ts'
import { defineConformance } from '../src/testkit/index.ts'

const clock = new FakeClock()

defineConformance(
  { describe, test, skip: (name, reason) => test.skip(`${name} (${reason})`, () => {}) },
  {
    name: 'the memory engine',
    supports: [],
    async createEngine() {
      const engine = new MemoryEngine({ clock })
      await engine.open()
      return engine
    },
    passTime: (_engine, milliseconds) => clock.advance(milliseconds),
  },
)
