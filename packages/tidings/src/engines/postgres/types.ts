import type { CustomTypesConfig } from 'pg'

const numbers = new Set([21, 23, 26, 700, 701])
const boolean = 16

/**
 * How our own statements read what PostgreSQL answers. The application may have changed the parsers of `pg` for the
 * whole process; these are ours alone. What is not named here is text.
 */
export const ownTypes = {
  getTypeParser(oid: number) {
    if (numbers.has(oid)) return Number
    return oid === boolean ? (text: string) => text === 't' : (text: string) => text
  },
} as unknown as CustomTypesConfig
