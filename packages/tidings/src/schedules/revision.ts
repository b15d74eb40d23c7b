import { randomBytes } from 'node:crypto'

/** A text that no other revision of a schedule has. */
export const newRevision = () => randomBytes(9).toString('base64url')
