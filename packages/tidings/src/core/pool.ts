import * as option from './options.ts'

/** @public */
export const poolFields = {
  max: option.integer(
    'How many connections a bus opens at most, for everything: statements, transactions of handlers, listening, events. With less than 3 there is none to listen, and new messages are found by polling.',
    { default: 10, min: 1, max: 1_000 },
  ),
} as const

/** The pool of a storage that needs one connection for each transaction. */
export const poolOption = option.object('Connections to PostgreSQL.', poolFields)
export type PoolOptions = option.OptionsInput<typeof poolFields>
export type PoolSettings = option.OptionsOutput<typeof poolFields>
