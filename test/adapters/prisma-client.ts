import { createRequire } from 'node:module'
import { PrismaPg } from '@prisma/adapter-pg'
import { getPrismaClient } from '@prisma/client/runtime/client'

const require = createRequire(import.meta.url)
const compiler = '@prisma/client/runtime/query_compiler_small_bg.postgresql'
/** TypeScript has it in the types of the browser only. */
declare const WebAssembly: { readonly Module: new (bytes: Uint8Array) => object }

/**
 * What `prisma generate` writes for a schema without models, which is all that raw queries need: Prisma's own runtime
 * and its own driver adapter. Generating it in the test would download an engine that only migrations use.
 */
const PrismaClient = getPrismaClient({
  previewFeatures: [],
  clientVersion: '7.10.0',
  engineVersion: '0edf323efd1d98336f3f0a68684b56f689b900d3',
  activeProvider: 'postgresql',
  inlineSchema: 'datasource db {\n  provider = "postgresql"\n}\n',
  runtimeDataModel: { models: {}, enums: {}, types: {} },
  parameterizationSchema: { strings: [], graph: 'AAAA' },
  compilerWasm: {
    getRuntime: async () => require(`${compiler}.js`),
    getQueryCompilerWasmModule: async () =>
      new WebAssembly.Module(Buffer.from(require(`${compiler}.wasm-base64.js`).wasm, 'base64')),
    importName: './query_compiler_small_bg.js',
  },
})

interface PrismaRaw {
  $queryRawUnsafe<T = unknown>(text: string, ...values: unknown[]): Promise<T>
  $executeRawUnsafe(text: string, ...values: unknown[]): Promise<number>
}

/** What a generated client has without its models. */
interface Prisma extends PrismaRaw {
  $transaction<T>(work: (tx: PrismaRaw) => Promise<T>): Promise<T>
  $disconnect(): Promise<void>
}

export const openPrisma = (url: string): Prisma =>
  new PrismaClient({
    adapter: new PrismaPg({ connectionString: url }),
    // Its own limits, 2 and 5 seconds, are too short for a busy machine.
    transactionOptions: { maxWait: 30_000, timeout: 30_000 },
  }) as unknown as Prisma
