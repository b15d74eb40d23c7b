// Checks each package as it would be published: what its package.json promises is there, and its types resolve.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('..', import.meta.url))
const check = (...command) => {
  const { status } = spawnSync('npx', command, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

for (const name of readdirSync(`${root}/packages`)) {
  check('publint', '--strict', `packages/${name}`)
  check('attw', '--pack', `packages/${name}`, '--profile', 'esm-only')
}

// What a browser loads for the dashboard, all of it.
const most = 120_000
const pages = `${root}/packages/server/dist/dashboard/pages`
const files = readdirSync(pages, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
const size = files.reduce(
  (sum, { parentPath, name }) => sum + gzipSync(readFileSync(`${parentPath}/${name}`)).length,
  0,
)
console.log(`dashboard: ${size} bytes gzipped, of at most ${most}`)
if (files.length === 0 || size > most) process.exit(1)
