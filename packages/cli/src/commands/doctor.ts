import { styleText } from 'node:util'
import type { Finding } from 'tidings/internal/port/engine'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { redact } from '../environment.ts'

export const doctor = () =>
  command('doctor', 'Looks for what could hurt; exits with 1 if something does.', 'tidings doctor').action(
    withContext(async (context) => {
      const { out } = context
      const { url, source } = await context.target()
      const findings = await (await context.connect()).diagnose()
      out.result({ storage: redact(url), findings }, () =>
        [`storage: ${redact(url)} (from ${source})`, ...findings.map(describe)].join('\n'),
      )
      if (findings.some(({ level }) => level === 'problem')) process.exitCode = 1
    }),
  )

const marks = {
  ok: styleText('green', 'ok     '),
  warning: styleText('yellow', 'warning'),
  problem: styleText('red', 'problem'),
} as const satisfies Record<Finding['level'], string>

function describe({ level, check, message, remedy }: Finding): string {
  return `${marks[level]}  ${check}: ${message}${remedy ? `\n         ${remedy}` : ''}`
}
