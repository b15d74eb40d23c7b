import { execFile } from 'node:child_process'
import { access, constants, realpath } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { unavailable } from '../failures.ts'
import type { Product } from '../server-type.ts'
import { isReachable, type RunAs } from '../users.ts'

/** An installed server. */
export interface Program extends Product {
  readonly file: string
}

const names = ['redis-server', 'valkey-server'] as const
/** The oldest Redis that will do; every Valkey is newer. */
const oldestMajor = 7

const hint =
  'Install one (apt install redis-server, dnf install valkey, brew install redis), or use a Redis server of your own: ' +
  'set REDIS_URL or pass --url.'

/**
 * The first of redis-server and valkey-server in PATH that is new enough.
 * @param runAs the user who must be able to run it, if not the user of this process
 * @throws LOCAL_UNAVAILABLE if there is none
 */
export async function findProgram(runAs?: RunAs): Promise<Program> {
  const refusals: string[] = []
  for (const file of await candidates()) {
    const about = await productOf(file)
    if (about === undefined) refusals.push(`${file} does not say its version`)
    else if (Number.parseInt(about.version, 10) < oldestMajor)
      refusals.push(`${file} is ${about.product} ${about.version}, and Redis ${oldestMajor} is the oldest that will do`)
    else if (runAs && !(await isReachable(await realpath(file), runAs)))
      refusals.push(`user ${runAs.uid}, who runs the server for root, cannot reach ${file}`)
    else return { file, ...about }
  }
  const why = refusals.length > 0 ? refusals.join('; ') : `there is neither ${names.join(' nor ')} in PATH`
  throw unavailable(`the local Redis cannot be started: ${why}`, { details: { path: process.env.PATH ?? '' }, hint })
}

async function candidates(): Promise<string[]> {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const files = names.flatMap((name) => folders.map((folder) => join(folder, name)))
  const usable = await Promise.all(files.map(isProgram))
  return files.filter((_, index) => usable[index])
}

function isProgram(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}

/** From 'Redis server v=7.0.15 sha=…'. */
async function productOf(file: string): Promise<Product | undefined> {
  const output = await promisify(execFile)(file, ['--version']).catch(() => undefined)
  const [, product, version] = /^(\w+) server v=([\d.]+)/.exec(output?.stdout ?? '') ?? []
  return product && version ? { product, version } : undefined
}
