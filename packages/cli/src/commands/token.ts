import { appendFileSync } from 'node:fs'
import { TidingsError } from 'tidings/internal/core/errors'
import { newToken, parseToken, tokenOptions } from 'tidings-server/internal/auth/token'
import { scopes } from 'tidings-server/internal/http/route'
import { command, group } from '../command.ts'
import { withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import { bold, dim } from '../output.ts'

const { hash: _, ...expressible } = tokenOptions
const necessary = { defaultText: 'required' }
const list = (placeholder: string, doc?: string) => ({
  placeholder,
  ...(doc === undefined ? {} : { doc }),
  repeated: true,
  read: (value: string | readonly string[]) => [value].flat().flatMap((one) => one.split(',')),
})
const asked = {
  ...expressible,
  name: { ...expressible.name, ...necessary },
  scopes: { ...expressible.scopes, ...necessary },
}
const flags = new Flags(asked, {
  name: asText('name', { doc: 'Whose token it is; stands in the log of the server.' }),
  scopes: list('scopes', `What it is good for, of ${scopes.join(', ')}.`),
  queues: list('names'),
  keys: list('patterns'),
  expires: asText('time', { doc: 'From then on it is not good any more: 2030-01-31.' }),
})

export const token = () =>
  group('token', 'Makes tokens for `tidings serve`.').addCommand(
    flags
      .addTo(
        command(
          'create',
          'Makes a token, and the line by which the server knows it. The token itself is shown this once.',
          'tidings token create --name billing --scopes send receive --queues orders "invoices*"',
          'tidings token create --name prometheus --scopes read --token-file tokens',
        ).option('--token-file <file>', 'Adds the line to this file, which is made if it is missing.'),
      )
      .action(
        withContext(async ({ flagValues, out }) => {
          const about = flags.read(flagValues)
          const { token: secret, hash } = newToken()
          const entry = { ...about, hash }
          parseToken(entry, 'the token')
          const line = JSON.stringify(entry)
          const file = flagValues.tokenFile as string | undefined
          if (file !== undefined) append(file, line)
          out.result({ token: secret, line: entry }, () => {
            const next =
              file === undefined ? `For the file of --token-file:\n${line}` : `Its line stands in ${file} now.`
            return `${bold(secret)}\n${dim('This is the token; it is shown only now.')}\n\n${next}`
          })
        }),
      ),
  )

function append(file: string, line: string): void {
  try {
    appendFileSync(file, `${line}\n`, { mode: 0o600 })
  } catch (cause) {
    throw new TidingsError('USAGE', `the token file '${file}' cannot be written: ${(cause as Error).message}`, {
      cause,
      hint: 'Name another one.',
    })
  }
}
