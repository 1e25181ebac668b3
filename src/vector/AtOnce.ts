/**
 * Effects that are done when they are handed over, which most steps of a search are: each step that a fiber is given
 * costs, in time and in garbage.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** As `Effect.flatMap`, but goes on at once after what is done already. For use where the effect is about to run. */
export const flatMap = <A, E, R, B, E2, R2>(
  step: Effect.Effect<A, E, R>,
  next: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  if (!Exit.isExit(step)) return Effect.flatMap(step, next)
  const done = step as Exit.Exit<A, E>
  return Exit.isSuccess(done) ? next(done.value) : Effect.failCause(done.cause)
}
