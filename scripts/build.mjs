// Compiles the packages in the order in which they need each other, into folders that hold nothing of an earlier build.
import { spawnSync } from 'node:child_process'
import { chmodSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

for (const name of ['tidings', 'local', 'server', 'testkit', 'cli']) {
  rmSync(`${root}/packages/${name}/dist`, { recursive: true, force: true })
  const { status } = spawnSync('npx', ['tsc', '-p', `packages/${name}`], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

// npm links the command when it installs, which is before it is compiled.
chmodSync(`${root}/packages/cli/dist/main.js`, 0o755)
