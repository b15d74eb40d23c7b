import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { program } from 'tidings-cli/internal/program'
import { describe, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'

const execute = promisify(execFile)
const folder = fileURLToPath(new URL('../../deploy', import.meta.url))
const read = (name: string) => readFileSync(`${folder}/${name}`, 'utf8')

const compose = parse(read('compose.yaml'))
// biome-ignore lint/suspicious/noExplicitAny: manifests are looked into as they should be
const manifests: any[] = parseAllDocuments(read('kubernetes.yaml')).map((document) => {
  expect(document.errors).toEqual([])
  return document.toJS()
})
const deployments = manifests.filter(({ kind }) => kind === 'Deployment')
const units = readdirSync(`${folder}/systemd`)
const dockerCommand: string[] = JSON.parse(/^CMD (\[.*\])$/m.exec(read('Dockerfile'))![1]!)

const commandOf = (unit: string) =>
  /^ExecStart=\/usr\/bin\/node node_modules\/tidings-cli\/dist\/main.js (.*)$/m.exec(read(unit))![1]!.split(' ')

/** Every command line of `tidings` in these files, with where it stands. */
const commands: [where: string, args: string[]][] = [
  ['Dockerfile', dockerCommand],
  ['compose.yaml: migrate', compose.services.migrate.command],
  ['compose.yaml: workers', compose.services.workers.command],
  ...units.map((unit): [string, string[]] => [unit, commandOf(`systemd/${unit}`)]),
  ...deployments.map(({ metadata, spec }): [string, string[]] => [
    `kubernetes.yaml: ${metadata.name}`,
    spec.template.spec.containers[0].args,
  ]),
]

/** Of '30s'. */
const seconds = (text: string) => Number(/^(\d+)s$/.exec(text)![1])
const valueIn = (args: readonly string[], flag: string) => args[args.indexOf(flag) + 1]!

describe('files of deploy/', () => {
  test.each(commands)('%s: the command and its flags are there', (_, [name, ...rest]) => {
    const found = program().commands.find((one) => one.name() === name) as Command
    expect(found, name).toBeDefined()
    found.exitOverride()
    expect(found.parseOptions(rest)).toEqual({ operands: [], unknown: [] })
  })

  test.each(deployments.map((one) => [one.metadata.name, one]))('%s: probes, ports and labels fit', (_, { spec }) => {
    const { containers, terminationGracePeriodSeconds } = spec.template.spec
    const [{ args, ports, readinessProbe, livenessProbe }] = containers
    const port = args[0] === 'serve' ? '--port' : '--health-port'
    expect(String(ports[0].containerPort)).toBe(valueIn(args, port))
    expect(valueIn(args, args[0] === 'serve' ? '--host' : '--health-host')).toBe('0.0.0.0')
    expect(readinessProbe.httpGet).toEqual({ path: '/readyz', port: ports[0].name })
    expect(livenessProbe.httpGet).toEqual({ path: '/livez', port: ports[0].name })
    // The storage may take 2 s to answer.
    expect(readinessProbe.timeoutSeconds).toBeGreaterThan(2)
    expect(terminationGracePeriodSeconds).toBeGreaterThan(seconds(valueIn(args, '--stop-deadline')))
    expect(spec.selector.matchLabels).toEqual(spec.template.metadata.labels)
  })

  test('the service leads to the server', () => {
    const { spec } = manifests.find(({ kind }) => kind === 'Service')
    const server = deployments.find(({ metadata }) => metadata.name === 'tidings-server')
    expect(server.spec.template.metadata.labels).toEqual(spec.selector)
    expect(server.spec.template.spec.containers[0].ports[0].name).toBe(spec.ports[0].targetPort)
  })

  test('Compose waits for the end of handlers, and asks where the workers answer', () => {
    const { command, stop_grace_period, healthcheck, depends_on } = compose.services.workers
    expect(seconds(stop_grace_period)).toBeGreaterThan(seconds(valueIn(command, '--stop-deadline')))
    expect(healthcheck.test.join(' ')).toContain(`127.0.0.1:${valueIn(command, '--health-port')}/readyz`)
    for (const name of Object.keys(depends_on)) expect(compose.services).toHaveProperty(name)
    for (const { secrets = [] } of Object.values<{ secrets?: string[] }>(compose.services))
      for (const secret of secrets) expect(compose.secrets).toHaveProperty(secret)
  })

  test.each(units)('%s waits for the end of what runs', (unit) => {
    const text = read(`systemd/${unit}`)
    const stop = /^TimeoutStopSec=(.*)$/m.exec(text)![1]!
    expect(seconds(stop)).toBeGreaterThan(seconds(valueIn(commandOf(`systemd/${unit}`), '--stop-deadline')))
  })

  test('systemd takes the units', async () => {
    const paths = units.map((unit) => `${folder}/systemd/${unit}`)
    const { stderr } = await execute('systemd-analyze', ['verify', ...paths]).catch((error) => error)
    // What runs need not be installed where this is verified.
    const found = String(stderr)
      .split('\n')
      .filter((line) => /tidings-/.test(line) && !/is not executable/.test(line))
    expect(found).toEqual([])
  })
})
