/** As they were when this was loaded: what runs in a test with fake timers must not wait for a turn that never comes. */
const { setImmediate: immediate } = globalThis
const { nextTick: tick } = process

/** Calls it in the next turn of the event loop. */
export const soon = (callback: () => void): void => void immediate(callback)

/** Resolves in the next turn of the event loop. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => soon(resolve))

/** Calls it at the end of this tick. */
export const atEndOfTick = (callback: () => void): void => tick(callback)
