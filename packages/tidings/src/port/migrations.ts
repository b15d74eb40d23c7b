/** What a storage with a schema lets its owner see and do before it is used; opening an engine does it, too. */
export interface Migrations {
  open(): Promise<void>
  /** What there is to do. Changes nothing. @throws SCHEMA_NEWER */
  plan(wish: MigrationWish): Promise<MigrationPlan>
  /** @returns what was done; nothing, where another process was faster. @throws SCHEMA_NEWER, SCHEMA_MISSING */
  apply(wish: MigrationWish): Promise<MigrationPlan>
  close(): Promise<void>
}

export interface MigrationWish {
  /** Puts the functions of this program in the place of newer ones, for going back to it for good. */
  readonly down?: boolean
}

export interface MigrationPlan {
  /** The version that is there; 0 if the schema is not installed. */
  readonly from: number
  readonly to: number
  /** In their order, all in one transaction; none if the schema is up to date. */
  readonly steps: readonly MigrationStep[]
}

export interface MigrationStep {
  readonly name: string
  readonly sql: string
}
