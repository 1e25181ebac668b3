/**
 * What a handler makes anew: ids and times.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * @since 0.1.0
 * @category constructors
 */
export const id = (): string => globalThis.crypto.randomUUID()

/**
 * @since 0.1.0
 * @category constructors
 */
export const now: Effect.Effect<Date> = Effect.map(Clock.currentTimeMillis, (millis) => new Date(millis))

/**
 * @since 0.1.0
 * @category constructors
 */
export const later = (start: Date, millis: number): Date => new Date(start.getTime() + millis)
