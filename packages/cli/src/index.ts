/** The entry of the package: the type of `tidings.config.js`. */
export type { Config } from './config/settings.ts'
