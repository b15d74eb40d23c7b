import { dirname } from 'node:path'
import { isTidingsError, show, TidingsError } from 'tidings/internal/core/errors'
import { describeError } from 'tidings/internal/core/message-error'
import { parseOptions } from 'tidings/internal/core/options'
import type { Message, StoredCopy } from 'tidings/internal/messages/message'
import type { HandlerContext } from 'tidings/internal/worker/handler'
import { type WorkOptions, workOptions } from 'tidings/internal/worker/options'
import { findHandlerFiles, type HandlerFile, type Problem, showFolders } from './files.ts'
import { allowTypeScript, importModule } from './import.ts'

/** The exports of a handler module. */
export interface HandlerModule {
  readonly queue: string
  /** For people. */
  readonly file: string
  /** Handles a message; throws on failure. */
  handle(message: Message<unknown>, context: HandlerContext): unknown
  /** Throws if the message is invalid. An invalid message is dead-lettered without a call of `handle`. */
  readonly validate: ((message: StoredCopy<unknown>) => unknown) | null
  readonly options: WorkOptions
}

/**
 * Loads the handler modules of folders: `orders.ts` handles the queue `orders`.
 * @param options.queues only the modules of these
 * @param options.skipBroken goes on without the modules that cannot be used
 * @throws HANDLERS_INVALID, which names every module that cannot be used, with the line
 */
export async function loadHandlers(
  folders: readonly string[],
  options: { queues?: readonly string[] | undefined; skipBroken?: boolean | undefined } = {},
): Promise<{ handlers: HandlerModule[]; broken: string[] }> {
  const queues = options.queues?.length ? new Set(options.queues) : null
  const { files, problems } = await findHandlerFiles(folders, queues)
  const typed = files.filter(({ realPath }) => realPath.endsWith('ts')).map(({ realPath }) => dirname(realPath))
  for (const folder of new Set(typed)) await allowTypeScript(folder)

  const handlers: HandlerModule[] = []
  for (const file of files) {
    const loaded = await loadOne(file)
    if ('handle' in loaded) handlers.push(loaded)
    else problems.push(loaded)
  }
  const broken = problems.map(({ file, line, reason }) => `${line === undefined ? file : `${file}:${line}`}: ${reason}`)
  if (broken.length > 0 && !options.skipBroken)
    throw new TidingsError('HANDLERS_INVALID', broken.join('\n'), {
      details: { problems },
      hint: 'Correct it, or go on without with --skip-broken.',
    })
  if (handlers.length === 0)
    throw new TidingsError(
      'HANDLERS_INVALID',
      folders.length === 1
        ? `the handlers folder ${showFolders(folders)} has no usable modules`
        : `the handlers folders ${showFolders(folders)} have no usable modules`,
    )
  return { handlers, broken }
}

async function loadOne(file: HandlerFile): Promise<HandlerModule | Problem> {
  const loaded = await importModule(file)
  if ('reason' in loaded) return loaded
  const problem = (reason: string): Problem => ({ file: file.shown, reason })
  let members: Record<string, unknown>
  try {
    members = membersOf(loaded.exports)
  } catch (error) {
    return problem(`the constructor of Handler threw: ${describeError(error).message}`)
  }
  const { handle, validate, options } = members
  if (handle === undefined) return problem('it exports no handle(message, context)')
  if (typeof handle !== 'function') return problem(`handle is ${show(handle)}; it must be a function`)
  if (validate !== undefined && typeof validate !== 'function')
    return problem(`validate is ${show(validate)}; it must be a function`)
  const badOptions = whyUnusable(options)
  if (badOptions) return problem(badOptions)
  return {
    queue: file.queue,
    file: file.shown,
    // Called on their own object, for a default export that is an instance of a class.
    handle: handle.bind(members),
    validate: validate ? validate.bind(members) : null,
    options: (options ?? {}) as WorkOptions,
  }
}

function whyUnusable(options: unknown): string | undefined {
  try {
    parseOptions(workOptions, options, 'options')
    return undefined
  } catch (error) {
    if (!isTidingsError(error)) throw error
    return error.code === 'OPTION_UNKNOWN' ? `${error.message}. ${error.hint}` : `options: ${error.message}`
  }
}

/** Named exports, or the members of a default export, or those of an instance of the class `Handler`. */
function membersOf(exports: Record<string, unknown>): Record<string, unknown> {
  const { default: defaultExport, Handler } = exports
  if (exports.handle === undefined && typeof Handler === 'function')
    return new (Handler as new () => Record<string, unknown>)()
  if (exports.handle !== undefined || typeof defaultExport !== 'object' || defaultExport === null) return exports
  return defaultExport as Record<string, unknown>
}
