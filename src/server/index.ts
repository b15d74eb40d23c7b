export type { ServerOptions } from './options.ts'
export { createServer, Server } from './server.ts'
export type { TokenOptions } from './token.ts'
