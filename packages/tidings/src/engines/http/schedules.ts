import { isTidingsError } from '../../core/errors.ts'
import type { ScheduleStore, Schedules, StoredSchedule } from '../../port/schedule-store.ts'
import { fromWireSchedule, toWireDefinition, type WireSchedules } from '../../protocol/schedules.ts'
import type { Client } from './client.ts'

/** Schedules over HTTP. The server works out their times by its storage's clock, and sends what is due. */
export class HttpSchedules implements ScheduleStore {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async put(schedule: StoredSchedule, before: string | null): Promise<number | null> {
    const body = toWireDefinition(schedule, before)
    const answer = await this.#client.request<{ stored: boolean }>('PUT', of(schedule.name), body, {
      repeatable: false,
    })
    return answer.stored ? 0 : null
  }

  async remove(name: string, revision: string | null): Promise<boolean> {
    const path = revision === null ? of(name) : `${of(name)}?revision=${encodeURIComponent(revision)}`
    try {
      await this.#client.request('DELETE', path, undefined, { repeatable: true })
      return true
    } catch (error) {
      if (isTidingsError(error, 'SCHEDULE_NOT_FOUND')) return false
      throw error
    }
  }

  async list(which: 'all' | 'due' | { readonly name: string }): Promise<Schedules> {
    const path = typeof which === 'object' ? `/v1/schedules?name=${encodeURIComponent(which.name)}` : '/v1/schedules'
    const answer = await this.#client.request<WireSchedules>('GET', path, undefined, { repeatable: true })
    const all = answer.schedules.map(fromWireSchedule)
    const now = Date.parse(answer.now)
    return { now, schedules: which === 'due' ? [] : all, nextDueMs: null }
  }
}

const of = (name: string) => `/v1/schedules/${encodeURIComponent(name)}`
