import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

/** Runs a module of Node in which nobody has installed OpenTelemetry. */
function runWithout(code: string): string {
  const resolve = `export function resolve(name, context, next) {
    if (name.startsWith('@opentelemetry/')) throw Object.assign(new Error('no ' + name), { code: 'ERR_MODULE_NOT_FOUND' })
    return next(name, context)
  }`
  const register = `import { register } from 'node:module'
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(resolve)}`)})`
  const hook = `data:text/javascript,${encodeURIComponent(register)}`
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', hook, '--input-type=module', '-e', code], {
    encoding: 'utf8',
  })
  return stdout + stderr
}

test('without the package a bus works, and the option says what to install', () => {
  const output = runWithout(`
    import { connect } from 'tidings'
    const bus = await connect('memory:')
    await bus.queue('a').send(1)
    await bus.close()
    const error = await connect('memory:', { telemetry: true }).catch((error) => error)
    console.log(error.code, error.message, error.hint)
  `)
  expect(output).toBe(
    'UNSUPPORTED telemetry is given, but the package @opentelemetry/api cannot be loaded Install it: npm install @opentelemetry/api\n',
  )
})
