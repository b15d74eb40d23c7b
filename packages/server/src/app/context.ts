import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'
import type { Caller } from '../auth/caller.ts'
import type { Route } from '../http/route.ts'

export interface AppEnv {
  Bindings: HttpBindings
  Variables: {
    /** The route that answers; set once it was found. */
    route: Route | undefined
    /** Whose token it is, for the log; set once it is known. */
    caller: string | undefined
    /** What is asked of the route; set once it was checked. */
    asked: { readonly params: object; readonly query: object; readonly body: object } | undefined
    /** What who asks may do, where that is known before the route is. */
    access: Caller | undefined
  }
}
export type AppContext = Context<AppEnv>

export type Fetch = (request: Request, bindings: HttpBindings) => Response | Promise<Response>
