import { vi } from 'vitest'

// A process runs several files. Packages stay loaded, which costs a second of processor time. The modules of the tests
// begin anew with each file, with what they hold and the hooks that they set.
vi.resetModules()
// What servers and folders of several files need done at the end.
process.setMaxListeners(0)
