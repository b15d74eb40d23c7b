import type { ServerPaths, ServerTypeName } from './paths.ts'

/** A type of local server: everything that differs between PostgreSQL and Redis. */
export interface ServerType {
  readonly name: ServerTypeName
  /** For messages to people. */
  readonly title: string

  /** @throws LOCAL_UNAVAILABLE if its programs are missing, too old, or not for this platform */
  checkPrograms(): Promise<void>
  /** The product that made or last ran the data in a directory; undefined without data of this type. */
  madeBy(dataDirectory: string): Promise<Product | undefined>
  /** The running server at these paths, started by any process; it may take no connections yet. */
  find(paths: ServerPaths): Promise<Running | undefined>
  /** The server's description of itself; undefined if it takes no connections (yet, or any more). */
  describe(paths: ServerPaths, purpose: Purpose): Promise<Description | undefined>
  /**
   * Starts the server or finds it running, and connects to it. Makes the data on first use.
   * @throws LOCAL_UNAVAILABLE, STORAGE_FULL, TIMEOUT
   */
  open(paths: ServerPaths): Promise<{ readonly server: Running; readonly session: Session }>
  /** Shuts the server down and waits for its end; false if it was not running. */
  stop(paths: ServerPaths): Promise<boolean>
}

/** Why a server is described: 'ensure' counts as use, which keeps the server from being stopped; 'status' does not. */
export type Purpose = 'ensure' | 'status'

export interface Running {
  readonly pid: number
  readonly startedAt: Date
  /** The server was told to stop and waits for its clients. */
  readonly isStopping: boolean
}

export interface Product {
  /** 'PostgreSQL', 'Redis', 'Valkey'. */
  readonly product: string
  /** For example '18.4', or '18' of a server that does not run. */
  readonly version: string
}

export interface Description extends Product {
  /** Whether a sentinel is in charge of the server. */
  readonly watched: boolean
}

/** A sentinel's connection to a server. */
export interface Session {
  /** Takes charge of the server and makes it ready for applications; false if another sentinel has it. Lasts as long as the session. */
  takeCharge(): Promise<boolean>
  /** How many clients are connected now, and a text that changes with every past connection. */
  use(): Promise<{ readonly clients: number; readonly past: string }>
  /** Calls back once when the connection is lost or ended. */
  onEnd(ended: () => void): void
  end(): Promise<void>
}
