/** The entry of the package, for `connect` of tidings and the command line. */
export {
  defaultDirectory,
  type EnsureLocalOptions,
  ensureLocal,
  ensureLocalRedis,
  type LocalPostgres,
  type LocalRedis,
  type LocalStatus,
  localStatus,
  stopLocal,
} from './local.ts'
export { PrivateRedis } from './redis/private.ts'
