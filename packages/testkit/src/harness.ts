import type { Engine, Feature, Transaction } from 'tidings/internal/port/engine'

/** An engine as the suite tries it. */
export interface Harness {
  /** For the report: 'PostgreSQL 18'. */
  readonly name: string
  /** The features that the engine must declare; cases that need others are skipped with a reason. */
  readonly supports: readonly Feature[]
  /** An engine of its own, opened. Several may share one server. */
  createEngine(): Promise<Engine>
  /** Takes back an engine of either kind after a case that passed, closed or not, for later cases. Default: closes it. */
  releaseEngine?(engine: Engine): Promise<void>
  /** Resolves when at least so many milliseconds went by on the clock of the engine's storage. */
  passTime(engine: Engine, milliseconds: number): Promise<void>
  /** With 'transactions': runs `work` in an application's transaction; commits, or rolls back if it rejects. */
  transaction?<T>(engine: Engine, work: (transaction: Transaction) => Promise<T>): Promise<T>
  /** With 'durable': another engine on the storage of the first one, opened; also after the first was closed. */
  secondEngine?(first: Engine): Promise<Engine>
  /** Cases that this engine is known not to pass, 'group: name' and why. A name that no case has is an error. */
  readonly skips?: Readonly<Record<string, string>>
  /** How long one case may take before it counts as hung; default 45,000 ms. */
  readonly caseTimeoutMs?: number
}
