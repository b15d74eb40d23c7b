import { createHash, randomUUID } from 'node:crypto'
import { chmod, chown, lstat, mkdir, readdir, readFile, realpath, rmdir, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed, unavailable } from './failures.ts'
import { exists, writeOnce } from './files.ts'
import { hasCode } from './processes.ts'
import { isReachable, rootsOwn, serverUid, serverUser } from './users.ts'

export type KindName = 'postgres' | 'redis'

/** Where everything of one local server is. */
export interface Place {
  readonly kind: KindName
  /** What the user calls it, absolute. */
  readonly directory: string
  /** Where things really are: `directory`, or a place of its own where the server's user cannot reach that. */
  readonly home: string
  readonly dataDirectory: string
  /** Holds the unix socket, and what is held while the server is started or stopped; closed to other users. */
  readonly socketDirectory: string
  readonly serverLog: string
  readonly sentinelLog: string
  /** Says which process the sentinel is. */
  readonly sentinelFile: string
}

/** A socket's path has room for this many bytes. */
const socketPathBytes = process.platform === 'darwin' ? 103 : 107
/** The longest of their names. */
const socketName = '.s.PGSQL.5432'

/**
 * The place for a directory, as far as it exists.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function findPlace(directory: string, kind: KindName): Promise<Place | undefined> {
  const asked = resolve(directory)
  try {
    const real = await realpath(asked)
    await mustBeTrusted(real)
    return placeAt(real, (await movedTo(real)) ?? real, kind)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw openingFailed(error, asked)
  }
}

/**
 * Makes the place for a directory, or completes it. Any number of processes may do this at once.
 * @throws LOCAL_UNAVAILABLE if the directory cannot be made, or if it or the data in it belong to another user; STORAGE_FULL
 */
export async function makePlace(directory: string, kind: KindName): Promise<Place> {
  const asked = resolve(directory)
  try {
    await mkdir(dirname(asked), { recursive: true })
    // What root makes is open, because the server's user has to get through; what is inside is closed.
    if (await makeDirectory(asked)) await chmod(asked, serverUser() ? 0o755 : 0o700)
    const real = await realpath(asked)
    await mustBeTrusted(real)
    // Only into a directory of our own, never into one that holds something else.
    if ((await readdir(real)).length === 0) await writeIfMissing(join(real, '.gitignore'), '*\n')
    const place = placeAt(real, await settle(real), kind)
    await mustBeOurs(place.dataDirectory)
    await closeToOthers(place.socketDirectory)
    return place
  } catch (error) {
    throw openingFailed(error, asked)
  }
}

function placeAt(directory: string, home: string, kind: KindName): Place {
  const socketDirectory = socketDirectoryFor(home)
  return {
    kind,
    directory,
    home,
    dataDirectory: join(home, 'data'),
    socketDirectory,
    serverLog: join(home, `${kind}.log`),
    sentinelLog: join(home, 'sentinel.log'),
    sentinelFile: join(home, 'sentinel.json'),
  }
}

/** Inside, or short and elsewhere where the path of the socket would be too long. */
function socketDirectoryFor(home: string): string {
  const inside = join(home, 'run')
  if (Buffer.byteLength(join(inside, socketName)) <= socketPathBytes) return inside
  const digest = createHash('sha256').update(home).digest('hex').slice(0, 12)
  return `/tmp/tidings-${serverUid()}-${digest}`
}

/** Decides once where the data of a directory go, and finds them there ever after. */
async function settle(directory: string): Promise<string> {
  const moved = await movedTo(directory)
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
  // A name of its own each time: who removes the directory begins anew.
  const home = join(rootsOwn, randomUUID())
  // Before it is named: from then on, its absence means that data were lost.
  await mkdir(home, { recursive: true, mode: 0o755 })
  if (await writeOnce(join(directory, 'place.json'), `${JSON.stringify({ home })}\n`)) return home
  await rmdir(home)
  return settle(directory)
}

async function movedTo(directory: string): Promise<string | undefined> {
  try {
    const { home } = JSON.parse(await readFile(join(directory, 'place.json'), 'utf8')) as { home: string }
    return home
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw openingFailed(error, join(directory, 'place.json'))
  }
}

/** What somebody else has made may lead us to a server of theirs. */
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

/** Makes a directory that only the server's user (and root) can enter; one that somebody else has put there is refused. */
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

/** Closed to others. False if it was there. */
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
