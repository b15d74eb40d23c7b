import * as option from './options.ts'

/** @public */
export const telemetryFields = {
  parent: option.boolean(
    'Puts the handling of a single message into the trace of what sent it, as its child. Otherwise it begins a trace of its own, which links to that.',
    { default: false },
  ),
  baggage: option.boolean(
    "Lets the sender's baggage travel with messages, too. It is stored with them, where others may read it.",
    { default: false },
  ),
  createSpans: option.boolean('Gives each message of a batch a span of its own, beside that of the batch.', {
    default: true,
  }),
} as const
export type TelemetryOptions = option.OptionsInput<typeof telemetryFields>
export type TelemetrySettings = option.OptionsOutput<typeof telemetryFields>

const fields = option.object(
  "Traces and metrics by OpenTelemetry's `@opentelemetry/api`, which the application installs and sets up: true, or how.",
  telemetryFields,
)

export const telemetryOption: option.Option<boolean | TelemetryOptions, TelemetrySettings | null> = {
  ...fields,
  defaultText: 'false',
  typeText: `true, or ${fields.typeText}`,
  jsonSchema: { oneOf: [{ type: 'boolean' }, fields.jsonSchema ?? {}] },
  parse: (value, path) => (value === false ? null : fields.parse(value === true ? {} : value, path)),
}
