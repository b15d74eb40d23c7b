import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { acquireLock } from 'tidings-local/internal/process-lock'

const execute = promisify(execFile)

/** Programs from Debian packages, unpacked without being installed. */
export interface DebianRoot {
  /** What `/` is to an installed package. */
  readonly root: string
  /** Value for LD_LIBRARY_PATH. */
  readonly libraryPath: string
}

/** Where downloads are kept between runs: $TIDINGS_TEST_CACHE, or `.cache` of the project. */
export function cacheFolder(): string {
  return process.env.TIDINGS_TEST_CACHE || fileURLToPath(new URL('../../.cache', import.meta.url))
}

/**
 * Downloads Debian packages, with the libraries that this machine lacks for them, and unpacks them into the cache.
 * Needs apt-get and dpkg-deb, but not root.
 * @param packages their names, which together name the folder
 * @param program a path inside them, without leading slash, which must have all its libraries afterwards
 */
export async function unpackDebian(packages: readonly [string, ...string[]], program: string): Promise<DebianRoot> {
  const folder = join(cacheFolder(), 'debian')
  const root = join(folder, packages.join('+'))
  try {
    if (!existsSync(join(root, program)))
      await unpacking(async () => {
        if (!existsSync(join(root, program))) await unpack(packages, folder, root)
      })
    const libraryPath = await libraryPathOf(root)
    await mustFindLibraries(join(root, program), libraryPath)
    return { root, libraryPath }
  } catch (error) {
    throw new Error(`The tests need ${packages.join(', ')}. Install it, or run them on a Debian that offers it.`, {
      cause: error,
    })
  }
}

/** One after the other in all processes, since they share package lists, and none is to download what another one does. */
async function unpacking(work: () => Promise<void>): Promise<void> {
  // Not in the cache: the path of a socket has little room.
  const directory = join(tmpdir(), `tidings-test-debian-${process.getuid?.()}`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const release = await acquireLock(directory, 600_000)
  try {
    await work()
  } finally {
    await release()
  }
}

async function unpack(packages: readonly string[], folder: string, root: string): Promise<void> {
  const unfinished = `${root}.new-${process.pid}`
  const downloads = join(unfinished, 'downloads')
  await mkdir(downloads, { recursive: true, mode: 0o755 })
  try {
    await download(packages, folder, downloads)
    for (const file of await readdir(downloads)) await execute('dpkg-deb', ['-x', join(downloads, file), unfinished])
    await rm(downloads, { recursive: true })
    await rename(unfinished, root)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
}

async function download(packages: readonly string[], folder: string, downloads: string): Promise<void> {
  const withOptions = async (options: readonly string[]) => {
    const names = [...packages, ...(await lackingLibraries(packages, options))]
    await execute('apt-get', [...options, 'download', ...names], { cwd: downloads })
  }
  const options = await aptOptions(packages, folder)
  try {
    await withOptions(options)
  } catch {
    // The archive drops a version when a fixed one appears, and lists of yesterday still name the old one.
    const own = options.length > system.length ? options : [...system, ...(await ownLists(join(folder, 'apt')))]
    await execute('apt-get', [...own, 'update'])
    await withOptions(own)
  }
}

const system = ['-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User=root']

/** The system's package lists if they know the packages, else lists of our own, at last with those of backports. */
async function aptOptions(packages: readonly string[], folder: string): Promise<string[]> {
  if (await areKnown(packages, system)) return system
  const own = [...system, ...(await ownLists(join(folder, 'apt')))]
  if (await areKnown(packages, own)) return own
  await execute('apt-get', [...own, 'update'])
  if (await areKnown(packages, own)) return own
  const backports = [...system, ...(await ownLists(join(folder, 'apt-backports'))), ...(await withBackports(folder))]
  if (!(await areKnown(packages, backports))) await execute('apt-get', [...backports, 'update'])
  return backports
}

async function ownLists(state: string): Promise<string[]> {
  await mkdir(join(state, 'lists', 'partial'), { recursive: true })
  await mkdir(join(state, 'archives', 'partial'), { recursive: true })
  return ['-o', `Dir::State::lists=${join(state, 'lists')}`, '-o', `Dir::Cache=${state}`]
}

/** Adds Debian's backports to the sources that the system has in its list and in its folder of lists. */
async function withBackports(folder: string): Promise<string[]> {
  const release = /^VERSION_CODENAME=(\w+)/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1]
  const list = join(folder, 'backports.list')
  const given = await readFile('/etc/apt/sources.list', 'utf8').catch(() => '')
  await writeFile(list, `${given}\ndeb http://deb.debian.org/debian ${release}-backports main\n`)
  return ['-o', `Dir::Etc::sourcelist=${list}`]
}

/** Whether they can be downloaded; what is installed is known by name even where no list offers it. */
async function areKnown(packages: readonly string[], options: readonly string[]): Promise<boolean> {
  const addresses = await execute('apt-get', [...options, 'download', '--print-uris', ...packages]).catch(
    () => undefined,
  )
  return addresses !== undefined
}

/** Libraries that installing the packages would bring along. LLVM is only for PostgreSQL's JIT, which the tests turn off. */
async function lackingLibraries(packages: readonly string[], options: readonly string[]): Promise<string[]> {
  // Not what would be downloaded: that leaves out what lies in the system's cache.
  const plan = ['install', '--simulate', '--no-install-recommends']
  const { stdout } = await execute('apt-get', [...options, ...plan, ...packages])
  const names = [...stdout.matchAll(/^Inst (\S+) /gm)].map((match) => match[1]!)
  return names.filter((name) => /^lib(?!llvm)/.test(name) && !name.endsWith('-perl') && !packages.includes(name))
}

/** With the folders that packages have for libraries of their own. */
async function libraryPathOf(root: string): Promise<string> {
  const found: string[] = []
  for (const parent of ['usr/lib', 'lib']) {
    const names = await readdir(join(root, parent)).catch(() => [])
    for (const name of names.filter((each) => each.includes('-linux-'))) {
      const folder = join(root, parent, name)
      found.push(folder)
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        if (!entry.isDirectory()) continue
        const inside = await readdir(join(folder, entry.name))
        if (inside.some((file) => /^lib.*\.so(\.|$)/.test(file))) found.push(join(folder, entry.name))
      }
    }
  }
  return found.join(':')
}

async function mustFindLibraries(program: string, libraryPath: string): Promise<void> {
  const { stdout } = await execute('ldd', [program], { env: { ...process.env, LD_LIBRARY_PATH: libraryPath } })
  const lacking = [...stdout.matchAll(/^\s*(\S+) => not found/gm)].map((match) => match[1])
  if (lacking.length > 0) throw new Error(`${program} lacks ${lacking.join(', ')}`)
}
