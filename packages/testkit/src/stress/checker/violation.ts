import type { Entry } from '../history.ts'

export type ViolationKind =
  | 'lost'
  | 'phantom'
  | 'stored twice'
  | 'not all or none'
  | 'two states'
  | 'delivered twice'
  | 'stale settlement'
  | 'delivered after its end'
  | 'too many attempts'
  | 'order of a key'
  | 'order of a topic'
  | 'gap in a topic'
  | 'passed over'
  | 'two consumers'
  | 'seek without effect'
  | 'stuck'
  | 'ended early'
  | 'too little load'

/** A broken promise of Tidings. */
export interface Violation {
  readonly kind: ViolationKind
  readonly text: string
  /** The records that prove it, by time; the final state is in `text`. */
  readonly evidence: readonly Entry[]
}
