import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { program } from 'tidings-cli/internal/program'
import { beforeAll, describe, expect, it } from 'vitest'
import { type DebianRoot, unpackDebian } from '../support/debian.ts'
import { folder, tidings, write } from './support.ts'

const execute = promisify(execFile)

/** What a shell offers for words, of which the last is being typed. */
type Offer = (...words: string[]) => Promise<string[]>

async function run({ root, libraryPath }: DebianRoot, shell: string, ...args: string[]): Promise<string[]> {
  const env = { PATH: process.env.PATH, HOME: folder, LD_LIBRARY_PATH: libraryPath, XDG_DATA_DIRS: `${root}/usr/share` }
  const { stdout } = await execute(root + shell, args, { env, cwd: folder })
  return stdout.split('\n').filter(Boolean)
}

const system: DebianRoot = { root: '', libraryPath: '' }

describe.each(['bash', 'zsh', 'fish'] as const)('completion for %s', (shell) => {
  let offer: Offer
  beforeAll(async () => {
    const { code, stdout } = await tidings(['completion', shell])
    expect(code).toBe(0)
    const script = write(`completion.${shell}`, stdout)
    const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(' ')
    if (shell === 'bash')
      offer = (...words) => {
        const state = `COMP_WORDS=(tidings ${quoted(words)}); COMP_CWORD=${words.length}`
        return run(system, '/bin/bash', '-c', `source ${script}; ${state}; _tidings; printf '%s\\n' "\${COMPREPLY[@]}"`)
      }
    else if (shell === 'zsh') {
      const zsh = await unpackDebian(['zsh', 'zsh-common'], 'bin/zsh')
      // Outside of its editor zsh completes nothing, so what the script would have it offer is printed.
      const offering = `_describe() { local -a all=(\${(P)4}); print -l -- \${\${(M)all:#$words[CURRENT]*}%%:*} }
        compadd() { shift; print -l -- "$@" }; _files() { print -l -- * }`
      offer = (...words) =>
        run(
          zsh,
          '/bin/zsh',
          '-f',
          '-c',
          `source ${script}; ${offering}; words=(tidings ${quoted(words)}); CURRENT=${words.length + 1}; _tidings`,
        )
    } else {
      const fish = await unpackDebian(['fish', 'fish-common'], 'usr/bin/fish')
      offer = async (...words) => {
        const line = ['tidings', ...words].join(' ')
        const found = await run(fish, '/usr/bin/fish', '--no-config', '-c', `source ${script}; complete -C '${line}'`)
        return found.map((one) => one.split('\t')[0]!)
      }
    }
  })

  it('offers every command and every flag', async () => {
    const check = async (command: Command, path: string[]): Promise<void> => {
      const help = command.createHelp()
      const names = help.visibleCommands(command).map((one) => one.name())
      if (names.length > 0) expect(await offer(...path, '')).toEqual(expect.arrayContaining(names))
      const flags = help.visibleOptions(command).map((one) => one.long)
      expect((await offer(...path, '--')).sort(), path.join(' ')).toEqual([...new Set(flags)].sort())
      for (const one of command.commands) await check(one, [...path, one.name()])
    }
    await check(program(), [])
  }, 300_000)

  it('offers what the value of a flag may be, and files where it may be anything', async () => {
    expect((await offer('queue', 'grant', 'orders', '--may', '')).sort()).toEqual(['measure', 'receive', 'send'])
    expect((await offer('peek', '--place', '')).sort()).toEqual(['archived', 'delayed', 'leased', 'ready'])
    expect(await offer('completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']))
    const files = await offer('process', '--handlers', '')
    // bash completes files itself where a function offers nothing.
    if (shell === 'bash') expect(files).toEqual([])
    else expect(files).toContain(`completion.${shell}`)
  })

  it('takes no value of a flag for a command', async () => {
    expect(await offer('--config', 'queue', 'que')).toEqual(['queue'])
    expect(await offer('--url', 'memory:', 'queue', 'cr')).toEqual(['create'])
  })
})

it('is refused for other shells', async () => {
  const { code, stderr } = await tidings(['completion', 'csh'])
  expect(code).toBe(2)
  expect(stderr).toContain('Allowed choices are bash, zsh, fish')
})
