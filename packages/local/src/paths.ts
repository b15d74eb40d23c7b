import { createHash, randomUUID } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readdir, readFile, realpath, rmdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed, unavailable } from './failures.ts'
import { exists, writeOnce } from './files.ts'
import { hasCode } from './processes.ts'
import { isReachable, rootsOwn, serverUid, serverUser } from './users.ts'

export type ServerTypeName = 'postgres' | 'redis'

/** The files and directories of one local server. */
export interface ServerPaths {
  readonly type: ServerTypeName
  /** The user's directory, absolute. */
  readonly directory: string
  /** `directory`, or a directory under `rootsOwn` if the server's user cannot reach `directory`. */
  readonly home: string
  readonly dataDirectory: string
  /** Holds the unix socket and the lock for starting and stopping; closed to other users. */
  readonly socketDirectory: string
  readonly serverLog: string
  readonly sentinelLog: string
  /** Holds the pid of the sentinel. */
  readonly sentinelFile: string
}

/** A socket's path has room for this many bytes. */
const socketPathBytes = process.platform === 'darwin' ? 103 : 107
/** The longest file name of a socket. */
const socketName = '.s.PGSQL.5432'

/**
 * The paths for a directory; undefined if the directory does not exist.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function findPaths(directory: string, type: ServerTypeName): Promise<ServerPaths | undefined> {
  const asked = resolve(directory)
  try {
    const real = await realpath(asked)
    await mustBeTrusted(real)
    return pathsAt(real, (await recordedHome(real)) ?? real, type)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw openingFailed(error, asked)
  }
}

/**
 * Makes the directories that are missing. Any number of processes may do this at once.
 * @throws LOCAL_UNAVAILABLE if the directory cannot be made, or if it or the data in it belong to another user; STORAGE_FULL
 */
export async function preparePaths(directory: string, type: ServerTypeName): Promise<ServerPaths> {
  const asked = resolve(directory)
  try {
    await mkdir(dirname(asked), { recursive: true })
    // Root's directory is open, because the server's user has to pass through. The directories inside are closed.
    if (await makeDirectory(asked)) await chmod(asked, serverUser() ? 0o755 : 0o700)
    const real = await realpath(asked)
    await mustBeTrusted(real)
    // Only into an empty directory, never beside the user's files.
    if ((await readdir(real)).length === 0) await writeIfMissing(join(real, '.gitignore'), '*\n')
    const paths = pathsAt(real, await decideHome(real), type)
    await mustBeOurs(paths.dataDirectory)
    await closeToOthers(paths.socketDirectory)
    return paths
  } catch (error) {
    throw openingFailed(error, asked)
  }
}

function pathsAt(directory: string, home: string, type: ServerTypeName): ServerPaths {
  const socketDirectory = socketDirectoryFor(home)
  return {
    type,
    directory,
    home,
    dataDirectory: join(home, 'data'),
    socketDirectory,
    serverLog: join(home, `${type}.log`),
    sentinelLog: join(home, 'sentinel.log'),
    sentinelFile: join(home, 'sentinel.json'),
  }
}

/** Inside `home`, or under /tmp if the path of the socket would be too long. */
function socketDirectoryFor(home: string): string {
  const inside = join(home, 'run')
  if (Buffer.byteLength(join(inside, socketName)) <= socketPathBytes) return inside
  const digest = createHash('sha256').update(home).digest('hex').slice(0, 12)
  return `/tmp/tidings-${serverUid()}-${digest}`
}

/** The home of a directory's data. The first call decides and records it. */
async function decideHome(directory: string): Promise<string> {
  const moved = await recordedHome(directory)
  if (moved !== undefined && !(await exists(moved))) {
    throw unavailable(`the data of ${directory} were in ${moved}, which is gone`, {
      details: { directory, home: moved },
      hint: `Bring it back, or remove ${directory} to begin anew without them.`,
    })
  }
  if (moved !== undefined) return moved
  const runAs = serverUser()
  if (!runAs || (await isReachable(directory, runAs))) return directory
  if (await exists(join(directory, 'data'))) {
    throw unavailable(`${directory} holds data, but user ${runAs.uid}, who runs the server for root, cannot reach it`, {
      details: { directory },
      hint: 'Make it and the directories above it passable again (chmod o+x).',
    })
  }
  // A new name each time: a directory that was removed and made again begins without data.
  const home = join(rootsOwn, randomUUID())
  // Made before it is recorded: a recorded home that is missing means lost data.
  await mkdir(home, { recursive: true, mode: 0o755 })
  if (await writeOnce(join(directory, 'place.json'), `${JSON.stringify({ home })}\n`)) return home
  await rmdir(home)
  return decideHome(directory)
}

async function recordedHome(directory: string): Promise<string | undefined> {
  try {
    const { home } = JSON.parse(await readFile(join(directory, 'place.json'), 'utf8')) as { home: string }
    return home
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw openingFailed(error, join(directory, 'place.json'))
  }
}

/** Another user's directory could lead to that user's server. */
async function mustBeTrusted(directory: string): Promise<void> {
  const { uid } = await stat(directory)
  const us = process.getuid?.() ?? uid
  if (uid !== 0 && uid !== us) throw belongsTo(uid, directory, `this process runs as user ${us}`)
}

async function mustBeOurs(dataDirectory: string): Promise<void> {
  if (!(await exists(dataDirectory))) return
  const { uid } = await stat(dataDirectory)
  if (uid !== serverUid()) throw belongsTo(uid, dataDirectory, `the server would be run by user ${serverUid()}`)
}

function belongsTo(owner: number, path: string, but: string): TidingsError {
  return unavailable(`${path} belongs to user ${owner}, but ${but}`, {
    details: { path, owner },
    hint: 'Run every program that shares a local server as the same user, or choose another directory.',
  })
}

/** Makes a directory that only the server's user (and root) can enter. Refuses a directory of another user. */
async function closeToOthers(path: string): Promise<void> {
  await makeDirectory(path)
  const found = await lstat(path)
  const self = process.getuid?.()
  const server = serverUser() ?? { uid: self, gid: undefined }
  if (!found.isDirectory() || (found.uid !== self && found.uid !== server.uid)) {
    throw belongsTo(found.uid, path, 'the socket of the server has to go there')
  }
  if ((found.mode & 0o777) !== 0o700) await chmod(path, 0o700)
  if (found.uid !== server.uid && server.gid !== undefined) await chown(path, server.uid, server.gid)
}

/** Makes a directory that is closed to others. False if it was there. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw openingFailed(error, path)
  }
}

async function writeIfMissing(path: string, text: string): Promise<void> {
  await writeFile(path, text, { flag: 'wx', mode: 0o644 }).catch((error) => {
    if (!hasCode(error, 'EEXIST')) throw openingFailed(error, path)
  })
}
