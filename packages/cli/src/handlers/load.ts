import { resolve } from 'node:path'
import { isTidingsError, show, TidingsError } from 'tidings/internal/core/errors'
import { parseOptions } from 'tidings/internal/core/options'
import type { Message, StoredCopy } from 'tidings/internal/messages/message'
import type { HandlerContext } from 'tidings/internal/worker/handler'
import { type WorkOptions, workOptions } from 'tidings/internal/worker/options'
import { findHandlerFiles, type HandlerFile, type Problem, showPath } from './files.ts'
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
 * Loads the handler modules of a folder: `orders.ts` handles the queue `orders`.
 * @param options.queues only the modules of these
 * @param options.skipBroken goes on without the modules that cannot be used
 * @throws HANDLERS_INVALID, which names every module that cannot be used, with the line
 */
export async function loadHandlers(
  folder: string,
  options: { queues?: readonly string[] | undefined; skipBroken?: boolean | undefined } = {},
): Promise<{ handlers: HandlerModule[]; broken: string[] }> {
  const queues = options.queues?.length ? new Set(options.queues) : null
  const { files, problems } = await findHandlerFiles(folder, queues)
  if (files.some(({ realPath }) => realPath.endsWith('ts'))) await allowTypeScript(resolve(folder))

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
    throw new TidingsError('HANDLERS_INVALID', `the handlers folder '${showPath(folder)}' has no usable modules`)
  return { handlers, broken }
}

async function loadOne(file: HandlerFile): Promise<HandlerModule | Problem> {
  const loaded = await importModule(file)
  if ('reason' in loaded) return loaded
  const members = membersOf(loaded.exports)
  const { handle, validate, options } = members
  const problem = (reason: string): Problem => ({ file: file.shown, reason })
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

/** Named exports, or the members of a default export. */
function membersOf(exports: Record<string, unknown>): Record<string, unknown> {
  const { default: defaultExport } = exports
  if (exports.handle !== undefined || typeof defaultExport !== 'object' || defaultExport === null) return exports
  return defaultExport as Record<string, unknown>
}
