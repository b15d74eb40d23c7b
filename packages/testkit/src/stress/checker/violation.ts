import type { Entry } from '../history.ts'

export type ViolationKind =
  | 'lost'
  | 'phantom'
  | 'stored twice'
  | 'not all or none'
  | 'two states'
  | 'delivered twice'
  | 'delivered after its end'
  | 'too many attempts'
  | 'order of a key'
  | 'order of a topic'
  | 'gap in a topic'
  | 'passed over'
  | 'two consumers'
  | 'seek without effect'
  | 'stuck'

/** Something that Tidings promises and that did not hold. */
export interface Violation {
  readonly kind: ViolationKind
  readonly text: string
  /** What shows it, by time; the end of the run is in `text`. */
  readonly evidence: readonly Entry[]
}
