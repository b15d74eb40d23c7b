import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type {} from 'vitest'
import type { TestProject } from 'vitest/node'
import { Broker, fetchPrograms } from './broker.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Path of the broker's socket; '' in a project whose tests use no server. */
    broker: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  refuseOldBuild()
  await fetchPrograms()
  const broker = new Broker()
  await broker.open()
  project.provide('broker', broker.path)
  return () => broker.close()
}

/** Tests with servers use what is compiled. @throws where a source is newer */
function refuseOldBuild(): void {
  const packages = join(import.meta.dirname, '../../packages')
  const changedAt = (file: string) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
  for (const name of ['tidings', 'local', 'server', 'testkit', 'cli']) {
    const builtAt = changedAt(join(packages, name, 'dist/index.js'))
    for (const file of readdirSync(join(packages, name, 'src'), { recursive: true, encoding: 'utf8' }))
      if (file.endsWith('.ts') && changedAt(join(packages, name, 'src', file)) > builtAt)
        throw new Error(`packages/${name}/src/${file} is newer than what is compiled, which is tested: npm run build`)
  }
}
