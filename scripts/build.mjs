// Compiles the packages in the order in which they need each other, into folders that hold nothing of an earlier build.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { writeOptionTypes } from './option-types.mjs'
import { writePackageDocs } from './package-docs.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

for (const name of ['tidings', 'local', 'server', 'testkit', 'cli']) {
  rmSync(`${root}/packages/${name}/dist`, { recursive: true, force: true })
  const { status } = spawnSync('npx', ['tsc', '-p', `packages/${name}`], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  await writeOptionTypes(name === 'tidings' ? name : `tidings-${name}`, `${root}/packages/${name}/dist`)
}

// The pages of the dashboard, which need a browser, and are only what the server hands out.
await build({ configFile: `${root}/packages/server/dashboard/vite.config.ts` })

// npm links the commands when it installs, which is before they are compiled.
const { bin } = JSON.parse(readFileSync(`${root}/packages/cli/package.json`, 'utf8'))
for (const file of Object.values(bin)) chmodSync(`${root}/packages/cli/${file}`, 0o755)

// The server's documentation page is drawn by Swagger UI. Users get its two files, and install nothing.
const swagger = `${root}/node_modules/swagger-ui-dist`
const vendor = `${root}/packages/server/vendor`
mkdirSync(vendor, { recursive: true })
for (const [from, to] of [
  ['swagger-ui-bundle.js', 'swagger-ui.js'],
  ['swagger-ui-bundle.js.LICENSE.txt', 'swagger-ui.js.LICENSE.txt'],
  ['swagger-ui.css', 'swagger-ui.css'],
  ['LICENSE', 'swagger-ui.LICENSE'],
  ['NOTICE', 'swagger-ui.NOTICE'],
])
  writeFileSync(`${vendor}/${to}`, readFileSync(`${swagger}/${from}`, 'utf8').replace(/\n.*# sourceMappingURL=.*/, ''))

// The pages hold these packages, whose licences go with them.
const licences = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'].map(
  (name) => `${name}\n\n${readFileSync(`${root}/node_modules/${name}/LICENSE`, 'utf8')}`,
)
writeFileSync(`${vendor}/dashboard.LICENSES`, licences.join('\n\n'))

writePackageDocs()
