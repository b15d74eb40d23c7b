import type { Recognised } from '../adapters/adapter.ts'
import type { Statements } from '../connect.ts'
import { isTidingsError } from '../core/errors.ts'
import { fromJson } from '../core/json.ts'
import { fromAnswer } from '../engines/postgres/answer.ts'
import { toTidingsError } from '../engines/postgres/errors.ts'
import { explain } from './errors.ts'
import { statements as texts } from './sql.gen.ts'
import type { Parameter, Row } from './values.ts'

type Call = keyof typeof texts

/** What may be sent again when its answer was lost: twice has the same result as once. */
const repeatable: ReadonlySet<Call> = new Set([
  'isInstalled',
  'create',
  'createUnlogged',
  'list',
  'metrics',
  'metricsAll',
  'bindTopic',
  'listTopicBindings',
  'listTopicBindingsOf',
  'testRouting',
  'enableNotify',
  'disableNotify',
  'updateNotify',
  'listNotify',
])

/** A connection, pool or transaction of the application, which closes it itself. */
export const ofApplication = ({ library, transaction }: Recognised): Statements => ({
  async query(text, values) {
    try {
      return (await transaction.query(text, values)).rows
    } catch (error) {
      throw toTidingsError(error, `the ${library} of the application`, 'CONNECTION_LOST')
    }
  },
  async close() {},
})

/** Calls of PGMQ's functions. */
export class Session {
  readonly #statements: Statements

  constructor(statements: Statements) {
    this.#statements = statements
  }

  /** @returns the results: rows, or values of a function that has one column */
  async all<Result = Row>(call: Call, ...values: Parameter[]): Promise<readonly Result[]> {
    try {
      const answer = await this.#statements.query(texts[call], values, { repeatable: repeatable.has(call) })
      return fromAnswer<Result>(answer, fromJson)
    } catch (error) {
      throw isTidingsError(error) ? explain(error) : error
    }
  }

  /** The first of the results; a function that finds nothing has none. */
  async one<Result = Row>(call: Call, ...values: Parameter[]): Promise<Result> {
    const [first] = await this.all<Result>(call, ...values)
    return first as Result
  }

  close(): Promise<void> {
    return this.#statements.close()
  }
}
