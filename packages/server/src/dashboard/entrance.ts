import type { MiddlewareHandler } from 'hono'
import { TidingsError } from 'tidings/internal/core/errors'
import { byToken } from '../app/admission.ts'
import type { AppContext, AppEnv } from '../app/context.ts'
import type { Caller } from '../auth/caller.ts'
import type { Tokens } from '../auth/tokens.ts'
import { asCaller, lookingOnly, onThisMachine } from './callers.ts'
import { isFromThisMachine } from './guards.ts'
import type { Authorize, DashboardSettings, Viewer } from './options.ts'

/**
 * Says who asks: the log-in of the application where there is one, else a token, else that the request comes from this
 * machine. Nobody else gets in.
 */
export class Entrance {
  readonly #settings: Pick<DashboardSettings, 'authorize' | 'readOnly'>
  readonly #tokens: Tokens

  constructor(settings: Pick<DashboardSettings, 'authorize' | 'readOnly'>, tokens: Tokens) {
    this.#settings = settings
    this.#tokens = tokens
  }

  /** Whether callers show who they are. */
  get isGuarded(): boolean {
    return this.#settings.authorize !== null || this.#tokens.areNeeded
  }

  /** Lets in who may see the document, which is empty by itself: with tokens everybody, to be asked for one. */
  readonly forDocument: MiddlewareHandler<AppEnv> = async (context, next) =>
    this.#settings.authorize === null && this.#tokens.areNeeded ? next() : this.forCalls(context, next)

  /** Lets in who may do something, and remembers what. */
  readonly forCalls: MiddlewareHandler<AppEnv> = async (context, next) => {
    const caller = await this.#identify(context)
    if (caller instanceof Response) return caller
    context.set('access', this.#settings.readOnly ? lookingOnly(caller) : caller)
    return next()
  }

  /** @returns null for a page that has yet to ask for a token */
  async forSession(context: AppContext): Promise<Caller | Response | null> {
    const hasNoToken = !context.req.header('Authorization') && !context.req.header('X-API-Key')
    if (this.#settings.authorize === null && this.#tokens.areNeeded && hasNoToken) return null
    const caller = await this.#identify(context)
    return caller instanceof Response || !this.#settings.readOnly ? caller : lookingOnly(caller)
  }

  async #identify(context: AppContext): Promise<Caller | Response> {
    const { authorize } = this.#settings
    if (authorize !== null) return this.#ask(authorize, context)
    if (this.#tokens.areNeeded) return byToken(this.#tokens)(context)
    if (!isFromThisMachine(context)) throw notFromHere(context)
    context.set('caller', onThisMachine.name)
    return onThisMachine
  }

  async #ask(authorize: Authorize, context: AppContext): Promise<Caller | Response> {
    const answer: Viewer | Response | null = await authorize(context.req.raw)
    if (answer instanceof Response) return answer
    if (answer === null)
      throw new TidingsError('UNAUTHORIZED', 'the application lets nobody like this see the dashboard', {
        hint: 'Log in there first.',
      })
    if (typeof answer !== 'object' || typeof answer.who !== 'string' || answer.who === '')
      throw new TidingsError(
        'CONFIG_INVALID',
        '`authorize` of the dashboard did not return `{ who }`, a response or null',
      )
    context.set('caller', answer.who)
    return asCaller(answer)
  }
}

/** What guards everything says so at once; without tokens it must not look like a matter of one. */
function notFromHere({ env }: AppContext): TidingsError {
  const why =
    env?.incoming === undefined
      ? 'the dashboard cannot see whether the request comes from this machine'
      : 'the request does not come from this machine, or not under its name'
  return new TidingsError('UNAUTHORIZED', `${why}, and it has neither tokens nor \`authorize\``, {
    hint: 'Give `authorize: (request) => ({ who })`, the log-in of your application, or `tokens`. In Hono on Node pass `c.env` on: `dashboard(c.req.raw, c.env)`.',
  })
}
