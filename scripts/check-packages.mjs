// Checks each package as it would be published: what its package.json promises is there, and its types resolve.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const check = (...command) => {
  const { status } = spawnSync('npx', command, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

for (const name of readdirSync(`${root}/packages`)) {
  check('publint', '--strict', `packages/${name}`)
  check('attw', '--pack', `packages/${name}`, '--profile', 'esm-only')
}
