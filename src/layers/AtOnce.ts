/**
 * Going on at once after what is done already. Statements are synchronous, so that most effects over them are an `Exit`
 * when they have been made: to wait for those, as for any other effect, costs more than many a statement.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * How an effect has ended; undefined where it has to run.
 *
 * @since 0.1.0
 * @category running
 */
export const done = <A, E, R>(effect: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined =>
  Exit.isExit(effect) ? (effect as Exit.Exit<A, E>) : undefined

/**
 * `Effect.suspend`, run at once: what it throws is a defect there as well.
 *
 * @since 0.1.0
 * @category running
 */
export const suspend = <A, E, R>(body: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  try {
    return body()
  } catch (defect) {
    return Exit.die(defect)
  }
}

/**
 * `Effect.exit`.
 *
 * @since 0.1.0
 * @category running
 */
export const exit = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> => {
  const ended = done(effect)
  return ended === undefined ? Effect.exit(effect) : Effect.succeed(ended)
}

/**
 * `Effect.flatMap`.
 *
 * @since 0.1.0
 * @category running
 */
export const flatMap = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  next: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => {
  const ended = done(effect)
  if (ended === undefined) return Effect.flatMap(effect, next)
  return Exit.isSuccess(ended) ? next(ended.value) : Exit.failCause(ended.cause)
}
