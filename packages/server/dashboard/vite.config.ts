import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const here = fileURLToPath(new URL('.', import.meta.url))
/** While one works on the pages: where the dashboard itself is, as `tidings dashboard` prints it. */
const api = process.env.TIDINGS_DASHBOARD ?? 'http://127.0.0.1:8080/dashboard'

export default defineConfig({
  root: here,
  // Every address is relative to the document, so that the pages work below any path.
  base: './',
  logLevel: 'warn',
  build: {
    outDir: fileURLToPath(new URL('../dist/dashboard/pages', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy takes no inline code.
    assetsInlineLimit: 0,
    modulePreload: false,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      '/api': { target: api, changeOrigin: true, headers: { origin: new URL(api).origin } },
    },
  },
})
