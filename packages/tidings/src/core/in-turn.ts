/** @returns a function that runs steps one after the other, even if their callers do not wait */
export function newTurns(): <T>(step: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (step) => {
    const result = last.then(step)
    last = result.catch(() => {})
    return result
  }
}
