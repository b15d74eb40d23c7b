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
  await fetchPrograms()
  const broker = new Broker()
  await broker.open()
  project.provide('broker', broker.path)
  return () => broker.close()
}
