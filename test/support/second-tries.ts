import { relative } from 'node:path'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

/** Ends a run with the tests that failed and then passed, and why they failed. Prints nothing where there are none. */
export class SecondTries implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const lines = tests.filter((test) => test.diagnostic()?.flaky).flatMap(linesOf)
    if (lines.length > 0) console.log(['Passed only at the second try:', ...lines, ''].join('\n'))
  }
}

function linesOf(test: TestCase): string[] {
  const [error] = test.result().errors ?? []
  const at = error?.stacks?.[0]
  return [
    `  ${test.module.relativeModuleId} > ${test.fullName}`,
    ...(error?.message.split('\n') ?? []).map((line) => `    ${line}`),
    ...(at ? [`    at ${relative(test.project.config.root, at.file)}:${at.line}:${at.column}`] : []),
  ]
}
