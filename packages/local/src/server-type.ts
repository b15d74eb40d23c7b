import type { KindName, Place } from './paths.ts'

/** What is different between the servers that can run in a directory of the user's. */
export interface ServerKind {
  readonly name: KindName
  /** For messages to people. */
  readonly title: string

  /** @throws LOCAL_UNAVAILABLE if its programs are missing, too old, or not for this platform */
  checkPrograms(): Promise<void>
  /** What made or last ran the data in a directory; undefined where there are none of this kind. */
  madeBy(dataDirectory: string): Promise<Product | undefined>
  /** The server that runs in a place, whoever started it; it may take no connections yet. */
  find(place: Place): Promise<Running | undefined>
  /** What a server says about itself; undefined if it takes no connections (yet, or any more). */
  describe(place: Place, purpose: Purpose): Promise<Description | undefined>
  /**
   * Starts the server of a place, or finds it running, and connects to it. Makes its data on first use.
   * @throws LOCAL_UNAVAILABLE, STORAGE_FULL, TIMEOUT
   */
  open(place: Place): Promise<{ readonly server: Running; readonly session: Session }>
  /** Stops the server of a place in good order and waits for its end; false if it was not running. */
  stop(place: Place): Promise<boolean>
}

/** Why somebody looks at a server: 'ensure' counts as use, which keeps it from being stopped; 'status' does not. */
export type Purpose = 'ensure' | 'status'

export interface Running {
  readonly pid: number
  readonly startedAt: Date
  /** It was told to stop, and waits for its clients. */
  readonly isStopping: boolean
}

export interface Product {
  /** 'PostgreSQL', 'Redis', 'Valkey'. */
  readonly product: string
  /** For example '18.4', or '18' of what does not run. */
  readonly version: string
}

export interface Description extends Product {
  /** Whether a sentinel is in charge of it. */
  readonly watched: boolean
}

/** A sentinel's connection to a server. */
export interface Session {
  /** Takes charge of the server and makes it ready for applications; false if another sentinel has it. Lasts as long as the session. */
  takeCharge(): Promise<boolean>
  /** How many clients are connected now, and a text that changes when others have been in between. */
  use(): Promise<{ readonly clients: number; readonly past: string }>
  /** Calls back once when the connection is lost or ended. */
  onEnd(ended: () => void): void
  end(): Promise<void>
}
