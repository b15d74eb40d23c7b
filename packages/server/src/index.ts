export type { ServerOptions } from './app/options.ts'
export { createServer, Server } from './app/server.ts'
export type { TokenOptions } from './auth/token.ts'
