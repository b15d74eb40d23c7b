import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { atExit, removeDirectory, serverDirectory } from './directories.ts'

const run = promisify(execFile)

/** PEM files: a certificate and its private key. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An authority with what it has signed, and another one that nobody knows. */
export interface Certificates {
  readonly folder: string
  readonly authority: Certificate
  /** Of `localhost` and 127.0.0.1, and of no other address of this machine. */
  readonly server: Certificate
  readonly client: Certificate
  readonly stranger: Certificate
  remove(): void
}

/** Makes them with openssl, valid for two days. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await serverDirectory('certificates')
  const forget = atExit(() => removeDirectory(folder))
  const make = async (name: string, ...more: string[]): Promise<Certificate> => {
    const made = { cert: join(folder, `${name}.pem`), key: join(folder, `${name}-key.pem`) }
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    await run('openssl', ['req', ...kind, '-subj', `/CN=${name}`, '-out', made.cert, '-keyout', made.key, ...more])
    return made
  }
  const authority = await make('authority')
  const signed = ['-CA', authority.cert, '-CAkey', authority.key]
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  return {
    folder,
    authority,
    server: await make('server', ...signed, '-addext', names),
    client: await make('client', ...signed),
    stranger: await make('stranger', '-addext', names),
    remove() {
      forget()
      removeDirectory(folder)
    },
  }
}
