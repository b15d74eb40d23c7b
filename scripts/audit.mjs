// npm audit, where the registry offers it. A mirror without the audit service is reported, and is no failure.
import { spawnSync } from 'node:child_process'

const { status, stdout, stderr } = spawnSync('npm', ['audit', '--json'], { encoding: 'utf8' })
if (status !== 0 && /audit endpoint returned an error|ENOAUDIT/.test(stderr + stdout)) {
  console.log('The registry has no audit service; nothing was audited.')
} else {
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  process.exit(status ?? 1)
}
