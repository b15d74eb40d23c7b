import { show, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { parseFunction } from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { Subscriber, Wakeups, Watch } from '../port/wakeups.ts'
import { isDueChannel, maxChannelBytes } from './channels.ts'

/** One listener to a channel of the application's. Made by `bus.listen`. */
export class ChannelListening extends Service {
  readonly #wakeups: Wakeups
  readonly #subscriber: Subscriber
  #watch: Watch | undefined

  /** @throws CONFIG_INVALID, TYPE */
  constructor(
    channel: string,
    handler: (text: string) => void | Promise<void>,
    { wakeups, logger }: { readonly wakeups: Wakeups; readonly logger: Logger },
  ) {
    super()
    parseFunction(handler, 'the handler')
    checkName(channel)
    this.#wakeups = wakeups
    this.#subscriber = {
      interests: [`channel:${channel}`],
      notified: async (_, text) => {
        try {
          await this.call(() => handler(text))
        } catch (error) {
          logger.warn({ err: loggable(error), channel }, 'the handler of a notification threw')
        }
      },
      interrupted: (error) =>
        logger.warn({ err: loggable(error), channel }, 'the connection for notifications failed; it is tried again'),
      stop: () => this.stop(),
    }
  }

  /** Whether what is notified now is heard. */
  get isConnected(): boolean {
    return this.state === 'running' && this.#wakeups.hears(this.#subscriber)
  }

  protected override async onStart(): Promise<void> {
    this.#watch = await this.#wakeups.subscribe(this.#subscriber)
  }

  protected override async onStop(): Promise<void> {
    this.#watch?.close()
  }
}

function checkName(channel: unknown): void {
  const isName = typeof channel === 'string' && channel !== '' && !channel.includes('\u0000')
  const isOurs = isName && (isDueChannel(channel) || /^tidings\.|^pgmq\.q_.*\.INSERT$/.test(channel))
  if (isName && !isOurs && Buffer.byteLength(channel) <= maxChannelBytes) return
  throw new TidingsError('CONFIG_INVALID', `channel is ${show(channel)}, which cannot be listened to`, {
    details: { field: 'channel' },
    hint: isOurs
      ? 'Tidings listens to it itself: `queue.work()`, `queue.read({ wait })` and `bus.events()` tell what comes.'
      : `The name of a channel has 1 to ${maxChannelBytes} bytes. PostgreSQL folds names without quotes to lower case.`,
  })
}
