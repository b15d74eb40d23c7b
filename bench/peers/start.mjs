// npm run bench:peers: installs the peers where that is not done yet, and runs on the Node that they ask for.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const installed = path('node_modules/.package-lock.json')
const writtenAt = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0)
if (writtenAt(installed) < writtenAt(path('package-lock.json')))
  execFileSync('npm', ['ci', '--loglevel', 'error'], { cwd: path('.'), stdio: ['ignore', 'ignore', 'inherit'] })

const binary = path(`node_modules/node-${process.platform}-${process.arch}/bin/node`)
if (!existsSync(binary)) console.error(`no Node 24 for this platform: measured on ${process.version}`)
const node = existsSync(binary) ? binary : process.execPath
const child = spawn(node, [path('run.mjs'), ...process.argv.slice(2)], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.once('exit', (code, signal) => {
  process.exitCode = signal ? 1 : code
})
