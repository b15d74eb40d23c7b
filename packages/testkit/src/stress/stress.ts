import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bus } from 'tidings/internal/bus/bus'
import { check } from './checker/check.ts'
import { type LoadPart, loadOf } from './checker/load.ts'
import type { Violation } from './checker/violation.ts'
import { Crew } from './crew.ts'
import { type Figures, figuresOf } from './figures.ts'
import { deadLettersOf, finalStateOf } from './final-state.ts'
import { HistoryFile, readHistories } from './history.ts'
import type { ParsedStressOptions } from './options.ts'
import { type Plan, planOf } from './plan.ts'
import { type Progress, perform, prepare } from './run.ts'

export interface StressReport {
  readonly valid: boolean
  readonly engine: string
  readonly seed: number
  readonly seconds: number
  readonly figures: Figures
  /** Planned and achieved amounts; less than `required` is a violation. */
  readonly load: readonly LoadPart[]
  /** By time; may include consequences of the first. */
  readonly violations: readonly Violation[]
  /** The folder with the histories, if it was kept. */
  readonly history: string | null
}

/**
 * Sends, handles, publishes and reads in several processes, kills some of them and moves subscriptions. Then compares the
 * histories of all processes with the content of the storage.
 * @param bus opened on `url`; for setup and checks
 */
export async function stress(
  bus: Bus,
  url: string,
  options: ParsedStressOptions,
  tell: Progress,
): Promise<StressReport> {
  const seed = options.seed ?? randomBytes(4).readUInt32BE()
  const run = randomBytes(4).toString('hex')
  const plan = planOf({ ...options, seed }, run, bus.engine.supports.has('topics'))
  const folder = folderFor(options.history, run)
  const history = new HistoryFile(join(folder, 'conductor.jsonl'), 'conductor')
  const crew = new Crew(url, plan, folder, history)
  try {
    await prepare(bus, plan)
    tell(`seed ${seed}: ${describe(plan, options)}`)
    const seconds = await perform(bus, plan, options, crew, history, tell)
    const entries = readHistories(filesOf(folder))
    const violations = check(plan, entries, await finalStateOf(bus, plan))
    const valid = violations.length === 0
    if (valid && !options.keep) await removeAll(bus, plan)
    const kept = !valid || options.history !== null
    if (!kept) rmSync(folder, { recursive: true, force: true })
    const figures = figuresOf(entries, seconds)
    return {
      valid,
      engine: bus.engine.name,
      seed,
      seconds: Math.round(seconds),
      figures,
      load: loadOf(plan, entries),
      violations,
      history: kept ? folder : null,
    }
  } finally {
    await crew.end()
    history.close()
  }
}

function folderFor(parent: string | null, run: string): string {
  if (parent === null) return mkdtempSync(join(tmpdir(), 'tidings-stress-'))
  const folder = join(parent, `stress-${run}`)
  mkdirSync(folder, { recursive: true })
  return folder
}

const filesOf = (folder: string) => readdirSync(folder).map((name) => join(folder, name))

async function removeAll(bus: Bus, plan: Plan): Promise<void> {
  for (const { name } of plan.queues) {
    await bus.queue(name).drop()
    await bus.queue(deadLettersOf(name)).drop()
  }
  for (const { name, subscriptions } of plan.topics) {
    await bus.engine.topics!.dropTopic(name)
    for (const subscription of subscriptions) await bus.queue(deadLettersOf(`${name}_${subscription}`)).drop()
  }
}

function describe(plan: Plan, options: ParsedStressOptions): string {
  const { producers, workers, subscribers, seconds } = options
  const readers = plan.topics.length > 0 ? `, ${subscribers} subscribers` : ''
  const destinations = `${plan.queues.length} queues and ${plan.topics.length} topics`
  return `${destinations}; ${producers} producers, ${workers} workers${readers}; ${seconds} seconds`
}
