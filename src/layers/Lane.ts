/**
 * A place for one at a time: whoever holds it works, the others wait in order, and every wait ends.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import type * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import { DbBusy, DbLocked, type ErrorContext } from "../errors/index.js"
import * as AtOnce from "./AtOnce.js"
import { longestTimer } from "./EventLoop.js"

/**
 * Makes an effect interruptible again.
 *
 * @since 0.1.0
 * @category models
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

interface Waiter {
  granted: boolean
  grant: () => void
}

/**
 * @since 0.1.0
 * @category models
 */
export interface LaneMetrics {
  /** How often somebody had to wait. */
  waitCount: number
  /** Milliseconds waited in all. */
  waitDuration: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Lane {
  /** True while somebody holds it. What runs in one turn of the event loop may go ahead when it is false. */
  readonly isHeld: () => boolean
  /**
   * Runs an effect while holding the lane. Fails with `DbBusy` after `budget` milliseconds of waiting, and with
   * `DbLocked` at once when the fiber that asks is the one that holds it.
   */
  readonly hold: <A, E, R>(
    context: ErrorContext,
    budget: number,
    body: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | DbBusy | DbLocked, R>
  /** The same for a body that is not to be interrupted but where it says so, and that may be done at once. */
  readonly holdMask: <A, E, R>(
    context: ErrorContext,
    budget: number,
    body: (restore: Restore) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | DbBusy | DbLocked, R>
  /** Takes the lane if nobody holds it: what gives it back, which is to be called once; undefined if somebody does. */
  readonly takeNow: () => (() => void) | undefined
  /** Takes the lane until the scope closes. */
  readonly holdScoped: (context: ErrorContext, budget: number) => Effect.Effect<void, DbBusy | DbLocked, Scope.Scope>
  readonly metrics: LaneMetrics
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (metrics: LaneMetrics = { waitCount: 0, waitDuration: 0 }): Lane => {
  let held = false
  let holder: FiberId.FiberId | undefined
  const waiters = new Set<Waiter>()

  const release = () => {
    holder = undefined
    const next = waiters.values().next().value
    if (next === undefined) {
      held = false
      return
    }
    waiters.delete(next)
    next.granted = true
    next.grant()
  }

  /**
   * Afterwards the lane is held by the caller; a wait that ends otherwise leaves nothing behind. Runs uninterruptibly
   * but for the wait itself, so that an interruption can never fall between getting the lane and knowing it.
   */
  const take = (context: ErrorContext, budget: number, restore: Restore): Effect.Effect<void, DbBusy | DbLocked> =>
    Effect.withFiberRuntime((fiber) => {
      if (held) {
        if (holder !== undefined && Equal.equals(holder, fiber.id())) return Effect.fail(reentrant(context))
        return Effect.map(wait(context, budget, restore), () => {
          holder = fiber.id()
        })
      }
      held = true
      holder = fiber.id()
      return Effect.void
    })

  const wait = (context: ErrorContext, budget: number, restore: Restore): Effect.Effect<void, DbBusy> =>
    Effect.suspend(() => {
      const started = performance.now()
      const waiter: Waiter = { granted: false, grant: () => {} }
      metrics.waitCount++
      return restore(
        Effect.async<void, DbBusy>((resume) => {
          // A real timer, not the Clock service: what is waited for lives outside of any test's clock.
          const timer = setTimeout(
            () => {
              if (waiters.delete(waiter)) resume(Effect.fail(waitedTooLong(context, budget)))
            },
            Math.min(budget, longestTimer)
          )
          waiter.grant = () => {
            clearTimeout(timer)
            resume(Effect.void)
          }
          waiters.add(waiter)
          return Effect.sync(() => clearTimeout(timer))
        })
      ).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            metrics.waitDuration += performance.now() - started
            if (Exit.isSuccess(exit)) return
            waiters.delete(waiter)
            // Interrupted after the lane was handed over: hand it on.
            if (waiter.granted) release()
          })
        )
      )
    })

  const holdMask: Lane["holdMask"] = (context, budget, body) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(take(context, budget, restore), () =>
        releaseAfter(
          AtOnce.suspend(() => body(restore)),
          release
        )
      )
    )

  const takeNow: Lane["takeNow"] = () => {
    if (held) return undefined
    held = true
    return release
  }

  return {
    isHeld: () => held,
    metrics,
    hold: (context, budget, body) => holdMask(context, budget, (restore) => restore(body)),
    holdMask,
    takeNow,
    holdScoped: (context, budget) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          take(context, budget, restore),
          Effect.addFinalizer(() => Effect.sync(release))
        )
      )
  }
}

/**
 * Gives the lane back when an effect has ended that nothing interrupts: then nothing heavier is needed.
 *
 * @since 0.1.0
 * @category running
 */
export const releaseAfter = <A, E, R>(held: Effect.Effect<A, E, R>, release: () => void): Effect.Effect<A, E, R> => {
  if (AtOnce.done(held) !== undefined) {
    release()
    return held
  }
  return Effect.matchCauseEffect(held, {
    onFailure: (cause) => {
      release()
      return Effect.failCause(cause)
    },
    onSuccess: (value) => {
      release()
      return Effect.succeed(value)
    }
  })
}

const waitedTooLong = (context: ErrorContext, budget: number): DbBusy =>
  new DbBusy({
    ...context,
    code: "HUB_LANE_BUSY",
    message: `Another transaction of this process held the write lane for ${budget} ms: make it shorter, or raise busy_timeout`
  })

const reentrant = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_REENTRANT",
    retryable: false,
    message: "This fiber already holds the write lane through `reserve`: use the reserved connection, or a transaction"
  })
