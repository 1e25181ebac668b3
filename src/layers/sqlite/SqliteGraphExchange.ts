/**
 * A question to the thread that searches a graph and its answer, in memory that both share: as messages, handing them
 * over would take longer than most searches.
 */
import type { Search } from "./SqliteGraphIndex.js"

/** What two threads share. */
export interface Exchange {
  readonly memory: SharedArrayBuffer
  readonly dimension: number
  /** The most keys that an answer may have. */
  readonly capacity: number
}

/** Numbers of `signals`: questions asked and answered so far, keys wanted and found by the last. */
const [asked, answered, wanted, found] = [0, 1, 2, 3]

const viewsOf = ({ capacity, dimension, memory }: Exchange) => ({
  signals: new Int32Array(memory, 0, 4),
  keys: new Float64Array(memory, 16, capacity),
  query: new Float32Array(memory, 16 + 8 * capacity, dimension)
})

export const make = (dimension: number, capacity: number): Exchange => ({
  memory: new SharedArrayBuffer(16 + 8 * capacity + 4 * dimension),
  dimension,
  capacity
})

/** Answers questions for as long as the thread lives, which does nothing else. */
export const serve = (exchange: Exchange, search: Search): void => {
  const { keys, query, signals } = viewsOf(exchange)
  for (let last = 0; ; last++) {
    Atomics.wait(signals, asked, last)
    const nearest = search(query, signals[wanted]!)
    keys.set(nearest)
    signals[found] = nearest.length
    Atomics.store(signals, answered, last + 1)
    Atomics.notify(signals, answered)
  }
}

/** The side that asks: one question at a time. */
export interface Caller {
  /** Whether the last question is answered. */
  readonly isIdle: () => boolean
  readonly ask: (query: Float32Array, count: number) => void
  /**
   * Blocks for so many milliseconds at most; whether the answer is there. It sleeps: to look all the time is faster where
   * nothing else runs, and takes up to twice as long on a busy machine.
   */
  readonly wait: (millis: number) => boolean
  /** Done when the answer is there. */
  readonly answered: () => Promise<unknown>
  readonly answer: () => Float64Array
}

export const caller = (exchange: Exchange): Caller => {
  const { keys, query, signals } = viewsOf(exchange)
  let questions = 0
  return {
    isIdle: () => Atomics.load(signals, answered) === questions,
    ask: (vector, count) => {
      query.set(vector)
      signals[wanted] = count
      Atomics.store(signals, asked, ++questions)
      Atomics.notify(signals, asked)
    },
    wait: (millis) => Atomics.wait(signals, answered, questions - 1, millis) !== "timed-out",
    answered: async () => Atomics.waitAsync(signals, answered, questions - 1).value,
    answer: () => keys.slice(0, signals[found])
  }
}
