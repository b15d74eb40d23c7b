import type { Feature } from 'tidings/internal/port/engine'
import type { Scene } from './scene.ts'

/** One rule of the port, as data with a function that tries it. */
export interface ConformanceCase {
  readonly group: string
  /** The rule, as a sentence. */
  readonly name: string
  /** Features without which the case means nothing. */
  readonly needs: readonly Feature[]
  /** Features with which the case means nothing. */
  readonly lacks: readonly Feature[]
  run(scene: Scene): Promise<void>
}

/** The cases of one group, each under the sentence that it tries. */
export function group(
  name: string,
  cases: Readonly<Record<string, (scene: Scene) => Promise<void>>>,
  only: { needs?: readonly Feature[]; lacks?: readonly Feature[] } = {},
): ConformanceCase[] {
  const { needs = [], lacks = [] } = only
  return Object.entries(cases).map(([sentence, run]) => ({ group: name, name: sentence, needs, lacks, run }))
}
