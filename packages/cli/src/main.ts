#!/usr/bin/env node
import { guardOutput } from './output.ts'
import { run } from './run.ts'

guardOutput()
const exitCode = await run(process.argv.slice(2))
// Handlers may have left connections open that would keep the process alive. What was printed gets out first.
for (const stream of [process.stdout, process.stderr]) await new Promise((written) => stream.write('', written))
process.exit(exitCode)
