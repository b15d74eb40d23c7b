import { durationBuckets, errorType, type Observer, type Operation, type Outcome, systemName } from './telemetry.ts'

type Labels = Readonly<Record<string, string>>

/** Destinations beyond these are counted together, so that their number does not fill the memory. */
const maxDestinations = 1_000
const otherDestination = '_OTHER'

/** One metric with its samples, which only grow. */
class Counter {
  readonly #samples = new Map<string, number>()

  add(labels: Labels, by: number): void {
    const key = textOf(labels)
    this.#samples.set(key, (this.#samples.get(key) ?? 0) + by)
  }

  *lines(name: string): Generator<string> {
    for (const [labels, value] of this.#samples) yield `${name}{${labels}} ${value}`
  }
}

class Histogram {
  readonly #samples = new Map<string, { readonly buckets: number[]; count: number; sum: number }>()

  observe(labels: Labels, value: number): void {
    const key = textOf(labels)
    let sample = this.#samples.get(key)
    if (!sample) {
      sample = { buckets: durationBuckets.map(() => 0), count: 0, sum: 0 }
      this.#samples.set(key, sample)
    }
    const bucket = durationBuckets.findIndex((bound) => value <= bound)
    if (bucket !== -1) sample.buckets[bucket]!++
    sample.count++
    sample.sum += value
  }

  *lines(name: string): Generator<string> {
    for (const [labels, { buckets, count, sum }] of this.#samples) {
      let below = 0
      for (const [index, bound] of durationBuckets.entries()) {
        below += buckets[index]!
        yield `${name}_bucket{${labels},le="${bound}"} ${below}`
      }
      yield `${name}_bucket{${labels},le="+Inf"} ${count}`
      yield `${name}_sum{${labels}} ${sum}`
      yield `${name}_count{${labels}} ${count}`
    }
  }
}

/** A metric in the text format of Prometheus; nothing where there are no samples. */
export function family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string, samples: Iterable<string>) {
  const lines = [...samples]
  return lines.length === 0 ? '' : `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('\n')}\n`
}

export const sample = (name: string, labels: Labels, value: number): string => `${name}{${textOf(labels)}} ${value}`

const textOf = (labels: Labels) =>
  Object.entries(labels)
    .map(
      ([name, value]) => `${name}="${value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')}"`,
    )
    .join(',')

/** What a bus sends, receives, handles and settles, counted: in the names that OpenTelemetry's have in Prometheus. */
export class Figures {
  readonly #destinations = new Set<string>()
  readonly #sent = new Counter()
  readonly #consumed = new Counter()
  readonly #operations = new Histogram()
  readonly #handling = new Histogram()

  readonly observer: Observer = (operation) =>
    operation.type === 'manage' ? undefined : (outcome) => this.#note(operation, outcome)

  #note(operation: Operation, { durationMs, error, count, stored }: Outcome): void {
    const { name, type, destination, subscription } = operation
    const labels = { messaging_system_name: systemName, messaging_operation_name: name }
    for (const [place, number] of stored)
      this.#sent.add({ ...labels, messaging_destination_name: this.#destination(place) }, number)
    const own = error === undefined ? this.#destination(destination ?? '') : this.#known(destination ?? '')
    const ownLabels = { ...labels, messaging_destination_name: own }
    if (type === 'receive') this.#consumed.add(ownLabels, count)
    const failure: Labels = error === undefined ? {} : { error_type: errorType(error) }
    const place: Labels = subscription === undefined ? {} : { messaging_destination_subscription_name: subscription }
    if (type === 'process') this.#handling.observe({ ...ownLabels, ...place, ...failure }, durationMs / 1000)
    else this.#operations.observe({ ...ownLabels, messaging_operation_type: type, ...failure }, durationMs / 1000)
  }

  #destination(name: string): string {
    if (this.#destinations.size < maxDestinations) this.#destinations.add(name)
    return this.#known(name)
  }

  /** A name that failed may be one that somebody made up. */
  #known(name: string): string {
    return this.#destinations.has(name) ? name : otherDestination
  }

  /** As Prometheus reads it. */
  text(): string {
    const sent = 'messaging_client_sent_messages_total'
    const consumed = 'messaging_client_consumed_messages_total'
    const operations = 'messaging_client_operation_duration_seconds'
    const handling = 'messaging_process_duration_seconds'
    return [
      family(sent, 'counter', 'Messages that were stored by this process.', this.#sent.lines(sent)),
      family(
        consumed,
        'counter',
        'Messages that were given to readers by this process, once for every time.',
        this.#consumed.lines(consumed),
      ),
      family(operations, 'histogram', 'How long calls of the storage took.', this.#operations.lines(operations)),
      family(handling, 'histogram', 'How long handlers took.', this.#handling.lines(handling)),
    ].join('')
  }
}
