/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { isDbError } from "../errors/index.js"
import type { BackendServices } from "../layers/BackendLayer.js"
import { SearchLive } from "../layers/search/SearchLive.js"
import { type StoreServices, StoresLive } from "../layers/stores/index.js"
import type { Search } from "../services/Search.js"

/**
 * One promise of a service: succeeds if it holds, fails or dies if not. Independent of any test runner.
 *
 * @since 0.1.0
 * @category models
 */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, unknown>
}

/**
 * The promises of a suite, each with the services still open.
 *
 * @since 0.1.0
 * @category models
 */
export type Suite = Readonly<Record<string, Effect.Effect<void, unknown, BackendServices | StoreServices | Search>>>

/**
 * @since 0.1.0
 * @category constructors
 */
export const casesOf = (suite: Suite, layer: Layer.Layer<BackendServices, unknown>): ReadonlyArray<Case> =>
  Object.entries(suite).map(([name, test]) => ({
    name,
    run: Effect.provide(test, Layer.provideMerge(Layer.merge(StoresLive, SearchLive), layer))
  }))

/**
 * A name that no other case uses, so that cases may share a database.
 *
 * @since 0.1.0
 * @category helpers
 */
export const fresh = (what: string): Effect.Effect<string> =>
  Effect.sync(() => `${what}_${globalThis.crypto.randomUUID().replaceAll("-", "").slice(0, 12)}`)

/**
 * Succeeds with the failure of an effect, which must be of the hub's family and have the expected tag.
 *
 * @since 0.1.0
 * @category helpers
 */
export const failsWith = <A, E, R>(tag: string, effect: Effect.Effect<A, E, R>): Effect.Effect<E, A, R> =>
  Effect.tap(Effect.flip(effect), (error) =>
    Effect.sync(() => {
      NodeAssert.ok(isDbError(error), `expected an error of the hub's family, got ${String(error)}`)
      NodeAssert.equal(error._tag, tag, error.message)
    })
  )

/**
 * @since 0.1.0
 * @category helpers
 */
export const equal = (actual: unknown, expected: unknown, message?: string): Effect.Effect<void> =>
  Effect.sync(() => NodeAssert.deepEqual(actual, expected, message))

/**
 * Runs an effect with a clock that is ahead by so many milliseconds, as if they had passed.
 *
 * @since 0.1.0
 * @category helpers
 */
export const later =
  (millis: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const unsafeMillis = () => clock.unsafeCurrentTimeMillis() + millis
      const unsafeNanos = () => clock.unsafeCurrentTimeNanos() + BigInt(millis) * 1_000_000n
      return Effect.withClock(effect, {
        [Clock.ClockTypeId]: Clock.ClockTypeId,
        unsafeCurrentTimeMillis: unsafeMillis,
        unsafeCurrentTimeNanos: unsafeNanos,
        currentTimeMillis: Effect.sync(unsafeMillis),
        currentTimeNanos: Effect.sync(unsafeNanos),
        sleep: (duration) => clock.sleep(duration)
      })
    })

/**
 * A list as its pages give it, each asked for by the cursor of the one before.
 *
 * @since 0.1.0
 * @category helpers
 */
export const pagesOf = <A, E, R>(
  page: (
    cursor: string | null
  ) => Effect.Effect<{ readonly items: ReadonlyArray<A>; readonly cursor: string | null }, E, R>
): Effect.Effect<ReadonlyArray<A>, E, R> =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    // A list that never ends must fail, not hang.
    let cursor: string | null = null
    for (let pages = 0; pages < 100; pages++) {
      const read: Effect.Effect.Success<ReturnType<typeof page>> = yield* page(cursor)
      seen.push(...read.items)
      if (read.cursor === null) return seen
      cursor = read.cursor
    }
    return yield* Effect.dieMessage("the pages do not end")
  })

/**
 * Holds for every sample, or fails with the smallest one that breaks it and the seed to repeat it with.
 *
 * @since 0.1.0
 * @category helpers
 */
export const property = <A, R>(
  samples: FastCheck.Arbitrary<A>,
  holds: (sample: A) => Effect.Effect<void, unknown, R>
): Effect.Effect<void, unknown, R> =>
  Effect.flatMap(Effect.runtime<R>(), (runtime) =>
    Effect.tryPromise({
      try: () =>
        FastCheck.assert(
          FastCheck.asyncProperty(samples, (sample) => Runtime.runPromise(runtime)(holds(sample))),
          { numRuns: 25 }
        ),
      catch: (error) => error
    })
  )
