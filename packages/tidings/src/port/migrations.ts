/** What a storage with a schema lets its owner see and do before it is used; opening an engine does it, too. */
export interface Migrations {
  open(): Promise<void>
  /** What there is to do. Changes nothing. @throws SCHEMA_NEWER */
  plan(wish: MigrationWish): Promise<MigrationPlan>
  /** @returns what was done; nothing, where another process was faster. @throws SCHEMA_NEWER, SCHEMA_MISSING */
  apply(wish: MigrationWish): Promise<MigrationPlan>
  /** @throws UNSUPPORTED where there are no roles, QUEUE_NOT_FOUND, PERMISSION_DENIED */
  grant(grant: QueueGrant): Promise<void>
  close(): Promise<void>
}

/** What a role of its own may do with one queue; the dead-letter queue goes with receiving. */
export interface QueueGrant {
  readonly queue: string
  readonly may: 'send' | 'receive' | 'measure'
  readonly role: string
  /** Takes it back instead. */
  readonly revoke: boolean
}

export interface MigrationWish {
  /** Puts the functions of this program in the place of newer ones, for going back to it for good. */
  readonly down?: boolean
  /** Makes the five roles, whose names begin so, and gives the first of them all that is there. */
  readonly roles?: string
  /** Makes a schema `pgmq` that is PGMQ's own one of Tidings, with all that is in it. */
  readonly adopt?: boolean
  /** The other way: takes what is ours out of the schema `pgmq` and installs PGMQ in it: by this SQL, or its extension. */
  readonly handOver?: string | true
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
