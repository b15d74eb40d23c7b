/** The entry of the package: the type of `tidings.config.js`, and what `tidings process` does, for programs. */
export type { Config } from './config/settings.ts'
export { type HandlerModule, loadHandlers } from './handlers/load.ts'
export { type ProcessOptions, processQueues } from './handlers/process-queues.ts'
