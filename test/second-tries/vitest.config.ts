import { defineConfig } from 'vitest/config'
import { SecondTries } from '../support/second-tries.ts'

export default defineConfig({ test: { include: ['fails-*.ts'], retry: 1, reporters: [new SecondTries()] } })
