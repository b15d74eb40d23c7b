// Clients that others make from the OpenAPI document: they compile, and work.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { startServer } from './support.ts'

const run = promisify(execFile)
/** Its own package, since these tools need an older TypeScript. */
const consumer = fileURLToPath(new URL('../consumer/', import.meta.url))
const require = createRequire(`${consumer}package.json`)
const load = (name: string) => import(pathToFileURL(require.resolve(name)).href)

/** Below the consumer, so that what is compiled there finds its packages. */
async function makeFolder() {
  await mkdir(`${consumer}.cache`, { recursive: true })
  return await mkdtemp(`${consumer}.cache/`)
}

test('TypeScript: openapi-typescript makes types that hold what a client does with openapi-fetch', async () => {
  const server = await startServer()
  const folder = await makeFolder()
  // As `npx openapi-typescript --default-non-nullable=false` does it: what has a default may be left out.
  const { default: openapiTypes, astToString } = await load('openapi-typescript')
  const document = await (await fetch(`${server.url}/openapi.json`)).json()
  await writeFile(`${folder}/tidings.ts`, astToString(await openapiTypes(document, { defaultNonNullable: false })))
  await writeFile(
    `${folder}/client.ts`,
    `import createClient from 'openapi-fetch'
import type { components, operations, paths } from './tidings.js'

const client = createClient<paths>({ baseUrl: '${server.url}' })
const path = { queue: 'orders' }
const body: components['schemas']['SendMessageRequest'] = { message: { n: 7 }, priority: 3, headers: { source: 'shop' } }
const sent = await client.POST('/v1/queues/{queue}/messages', { params: { path }, body })
const read = await client.POST('/v1/queues/{queue}/read', { params: { path }, body: { qty: 1 } })
const messages: components['schemas']['Message'][] = read.data?.messages ?? []
const [{ id, receipt, priority } = { id: '', receipt: null, priority: 0 }] = messages
const settlements = [{ id, receipt: receipt ?? '', kind: 'delete' as const }]
const { data } = await client.POST('/v1/queues/{queue}/settle', { params: { path }, body: { settlements } })
type Settled = operations['settleMessages']['responses'][200]['content']['application/json']
const settled: Settled | undefined = data
const { error } = await client.GET('/v1/queues/{queue}', { params: { path: { queue: 'nothing' } } })
const code: components['schemas']['ErrorBody']['code'] | undefined = error?.code
console.log(JSON.stringify([sent.data?.duplicate, priority, settled?.results[0]?.settled, code]))
// @ts-expect-error a field that the server does not know
export const wrong: components['schemas']['SendMessageRequest'] = { mesage: 1 }
`,
  )
  await writeFile(`${folder}/package.json`, '{ "type": "module" }')
  const flags = [
    '--strict',
    '--skipLibCheck',
    '--exactOptionalPropertyTypes',
    '--target',
    'es2022',
    '--module',
    'nodenext',
  ]
  const compiler = require.resolve('typescript/bin/tsc')
  const compiled = await run(process.execPath, [compiler, ...flags, `${folder}/client.ts`], { cwd: folder }).catch(
    ({ stdout }: { stdout: string }) => ({ stdout }),
  )
  expect(compiled.stdout).toBe('')
  await server.bus.queue('orders').create()
  const { stdout } = await run(process.execPath, [`${folder}/client.js`])
  expect(JSON.parse(stdout)).toEqual([false, 3, true, 'QUEUE_NOT_FOUND'])
})

test('Python: quicktype makes classes that compile and read the answers of the server', async () => {
  const server = await startServer()
  const folder = await makeFolder()
  const { JSONSchemaInput, FetchingJSONSchemaStore, InputData, quicktype } = await load('quicktype-core')
  const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
    components: { schemas: Record<string, object> }
  }
  const { schemas } = document.components
  const definitions = JSON.parse(JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/definitions/'))
  const input = new JSONSchemaInput(new FetchingJSONSchemaStore())
  for (const name of Object.keys(schemas))
    await input.addSource({ name, schema: JSON.stringify({ $ref: `#/definitions/${name}`, definitions }) })
  const inputData = new InputData()
  inputData.addInput(input)
  const { lines } = await quicktype({ inputData, lang: 'python', rendererOptions: { 'python-version': '3.7' } })
  await writeFile(`${folder}/tidings.py`, lines.join('\n'))
  await writeFile(
    `${folder}/client.py`,
    `import json, urllib.request
import tidings

def ask(path, body):
    request = urllib.request.Request("${server.url}/v1/queues/orders" + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))

sent = tidings.send_message_result_from_dict(ask("/messages", {"message": {"n": 7}, "priority": 3}))
read = tidings.read_messages_result_from_dict(ask("/read", {"qty": 1}))
message = read.messages[0]
settlement = tidings.Settlement.from_dict({"id": message.id, "receipt": message.receipt, "kind": "delete"})
done = tidings.settle_messages_result_from_dict(ask("/settle", {"settlements": [settlement.to_dict()]}))
print(json.dumps([sent.duplicate, message.priority, done.results[0].settled]))
`,
  )
  await run('python3', ['-m', 'py_compile', `${folder}/tidings.py`, `${folder}/client.py`])
  await server.bus.queue('orders').create()
  const { stdout } = await run('python3', [`${folder}/client.py`])
  expect(JSON.parse(stdout)).toEqual([false, 3, true])
})
