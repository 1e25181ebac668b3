/**
 * Statements are synchronous and fibres resume without leaving the turn of the event loop they are in, so a loop over
 * statements would keep timers and sockets waiting for ever. This counts the time of a turn and ends it when it is due.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** Milliseconds of statements in one turn before timers get theirs. */
const slice = 8

/**
 * Milliseconds: a timer that is set for longer fires at once.
 *
 * @since 0.1.0
 * @category constants
 */
export const longestTimer = 2 ** 31 - 1

/**
 * @since 0.1.0
 * @category models
 */
export interface Turn {
  /** Whether this turn of the event loop has been long enough. */
  readonly isOver: () => boolean
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const makeTurn = (onStart: () => void = () => {}): Turn => {
  let started = 0
  let open = false
  const close = () => {
    open = false
  }
  return {
    isOver: () => {
      if (open) return performance.now() - started > slice
      open = true
      started = performance.now()
      setImmediate(close)
      onStart()
      return false
    }
  }
}

/**
 * For what lives outside of a program, such as other processes: they go on in real time, also where it runs under a
 * test's clock.
 *
 * @since 0.1.0
 * @category time
 */
export const realClock: Clock.Clock = Clock.make()

const started = Number(process.hrtime.bigint()) / 1e6 - performance.now()

/**
 * Milliseconds on a clock that all processes of the machine read alike, and that nobody sets.
 *
 * @since 0.1.0
 * @category time
 */
export const uptime = (): number => started + performance.now()

/**
 * Waits for the next turn of the event loop; interruptible.
 *
 * @since 0.1.0
 * @category yielding
 */
export const nextTurn: Effect.Effect<void> = Effect.async((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/**
 * Waits some milliseconds in real time; interruptible. A wait that is `idle` keeps no process from ending.
 *
 * @since 0.1.0
 * @category yielding
 */
export const pause = (millis: number, { idle = false } = {}): Effect.Effect<void> =>
  Effect.async((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    if (idle) timer.unref()
    return Effect.sync(() => clearTimeout(timer))
  })

/**
 * About so many milliseconds, spread out so that processes do not march in step.
 *
 * @since 0.1.0
 * @category time
 */
export const jittered = (millis: number): Duration.Duration => Duration.millis(millis * (0.75 + Math.random() / 2))
