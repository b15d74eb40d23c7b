import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { unpackDebian } from './debian.ts'

export interface ChromiumProgram {
  readonly file: string
  readonly env: Record<string, string>
}

/** Starts a browser without a window; a missing one is an error, never a skip. */
export async function launchChromium(): Promise<Browser> {
  const { file, env } = await chromiumProgram()
  return chromium.launch({
    executablePath: file,
    env,
    // Containers have little of /dev/shm. Without the sandbox, which refuses root: it shows our own pages alone.
    chromiumSandbox: false,
    args: ['--disable-dev-shm-usage', '--force-color-profile=srgb', '--font-render-hinting=none'],
    // A loaded machine is slow.
    timeout: 110_000,
  })
}

/** The machine's chromium, or the part of Debian's that needs no screen, with a font. */
export async function chromiumProgram(): Promise<ChromiumProgram> {
  const { PATH = '', HOME = '/tmp' } = process.env
  const installed = PATH.split(delimiter).map((folder) => join(folder, 'chromium'))
  const file = installed.find((each) => existsSync(each))
  if (file !== undefined) return { file, env: { PATH, HOME } }
  const program = 'usr/lib/chromium/chromium-headless-shell'
  const { root, libraryPath } = await unpackDebian(
    ['chromium-headless-shell', 'chromium-common', 'fonts-dejavu-core'],
    program,
  )
  return {
    file: join(root, program),
    env: {
      PATH,
      HOME,
      LD_LIBRARY_PATH: libraryPath,
      FONTCONFIG_FILE: fileURLToPath(new URL('fonts.conf', import.meta.url)),
      XDG_DATA_HOME: join(root, 'usr/share'),
      XDG_CACHE_HOME: join(root, 'var/cache'),
    },
  }
}
