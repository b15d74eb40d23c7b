import * as option from 'tidings/internal/core/options'

export const stressOptions = {
  seconds: option.integer('How long to send, kill and seek; what was sent is handled after that.', {
    default: 30,
    min: 1,
    max: 86_400,
  }),
  seed: option.integer('What is random follows from it; the same seed plans the same run.', {
    default: null,
    defaultText: 'a random one',
    min: 0,
    max: 4_294_967_295,
  }),
  queues: option.integer('How many queues; every second one has ordering keys.', { default: 4, min: 1, max: 100 }),
  topics: option.integer('How many topics, where the storage has them.', { default: 3, min: 0, max: 100 }),
  producers: option.integer('Processes that send and publish.', { default: 3, min: 1, max: 50 }),
  workers: option.integer('Processes that handle messages of all queues.', { default: 3, min: 1, max: 50 }),
  subscribers: option.integer('Processes that read all topics; a subscription is read by one of them at a time.', {
    default: 2,
    min: 1,
    max: 50,
  }),
  rate: option.integer('Messages a second that each producer sends, about.', { default: 200, min: 1, max: 100_000 }),
  killEvery: option.duration('Kills a random process about this often and starts another one; 0ms: never.', {
    default: 3_000,
    min: 0,
    max: 3_600_000,
  }),
  seekEvery: option.duration('Moves a random subscription back about this often; 0ms: never.', {
    default: 2_000,
    min: 0,
    max: 3_600_000,
  }),
  drain: option.duration('How long the rest may take at the end before it counts as stuck.', {
    default: 60_000,
    min: 1_000,
    max: 3_600_000,
  }),
  history: option.text('Keeps the histories in this folder.', { default: null }),
  keep: option.boolean('Leaves queues and topics behind; so does a run that is not valid.', { default: false }),
} as const
export type ParsedStressOptions = option.OptionsOutput<typeof stressOptions>
