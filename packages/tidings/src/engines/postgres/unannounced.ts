import { type Interest, isPlace } from '../../port/listening.ts'

/** Looking into one place takes up at most this share of the time: a tenth. */
const share = 10

interface Finding {
  readonly ready: boolean
  /** Where a topic ends; null for a queue. */
  readonly end: number | null
  /** What it took the server to find that out. */
  readonly ms: number
}

interface Seen {
  readonly end: number | null
  /** When it is looked into again. */
  readonly nextAt: number
}

/** Looks for what is in queues and topics though nobody announced it: other clients, and leases that ran out. */
export class Unannounced {
  readonly #seen = new Map<Interest, Seen>()

  /** Which of these to look into now; what is left out is forgotten. */
  due(wanted: Iterable<Interest>): Interest[] {
    const places = [...wanted].filter((interest) => isPlace(interest) || interest === 'schedules')
    for (const interest of this.#seen.keys()) if (!places.includes(interest)) this.#seen.delete(interest)
    const now = performance.now()
    return places.filter((interest) => (this.#seen.get(interest)?.nextAt ?? 0) <= now)
  }

  /** @param answer what was found in each of them, as JSON @returns where readers would find something */
  note(looked: readonly Interest[], answer: string): Interest[] {
    const now = performance.now()
    return (JSON.parse(answer) as Finding[]).flatMap(({ ready, end, ms }, index) => {
      const interest = looked[index]!
      const isLonger = end !== null && end !== this.#seen.get(interest)?.end
      this.#seen.set(interest, { end, nextAt: now + ms * share })
      return ready || isLonger ? [interest] : []
    })
  }
}
