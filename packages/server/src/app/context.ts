import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'
import type { Route } from '../http/route.ts'

export interface AppEnv {
  Bindings: HttpBindings
  Variables: {
    /** The route that answers; set once it was found. */
    route: Route | undefined
    /** Whose token it is, for the log; set once it is known. */
    caller: string | undefined
  }
}
export type AppContext = Context<AppEnv>
