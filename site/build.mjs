// npm run site: builds the site into site/dist/ and checks its links. What it needs is installed here if that is not done yet.
import { execFileSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const writtenAt = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0)
const run = (command, ...args) =>
  execFileSync(command, args, { cwd: path('.'), stdio: ['ignore', 'inherit', 'inherit'] })

if (writtenAt(path('node_modules/.package-lock.json')) < writtenAt(path('package-lock.json')))
  run('npm', 'ci', '--ignore-scripts', '--loglevel', 'error', '--no-audit', '--no-fund')
run('npx', 'vitepress', 'build', '.')
const { writeText } = await import('./text.mjs')
const { checkSite } = await import('./links.mjs')
writeText()
const { pages, problems } = checkSite()
for (const problem of problems) console.error(problem)
console.log(`${pages} pages, ${problems.length} broken links`)
process.exitCode = problems.length > 0 ? 1 : 0
