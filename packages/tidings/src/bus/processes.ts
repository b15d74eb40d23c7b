import type { Dated } from '../core/dated.ts'
import type * as port from '../port/processes.ts'

/** A process that works on the storage, as it says itself. */
export interface ProcessInfo extends Dated<port.ProcessInfo> {}
