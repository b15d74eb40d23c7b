import { Socket } from 'node:net'
import type { Scene } from './actor.ts'

/**
 * Kills this process instead of its second or third request to the storage from now on. So it dies between two steps of
 * what begins now, if that takes more than one. A request may be several writes in one turn of the event loop.
 */
export function dieBetweenRequests({ history, name, random }: Scene): void {
  let left = 2 + random.below(2)
  let isWriting = false
  const { write } = Socket.prototype
  Socket.prototype.write = function (this: Socket, ...given: Parameters<typeof write>) {
    if (!isWriting && --left === 0) {
      history.tell({ event: 'killing', target: name })
      process.kill(process.pid, 'SIGKILL')
    }
    isWriting = true
    setImmediate(() => {
      isWriting = false
    })
    return write.apply(this, given)
  } as typeof write
}
