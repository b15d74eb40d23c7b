#!/usr/bin/env node
import { guardOutput } from './output.ts'
import { run } from './run.ts'

guardOutput()
const exitCode = await run(process.argv.slice(2))
// Exits even if handlers left connections open. The output is flushed first.
for (const stream of [process.stdout, process.stderr]) await new Promise((written) => stream.write('', written))
process.exit(exitCode)
