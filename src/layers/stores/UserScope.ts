/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { type InvalidInput, invalidInput } from "../../errors/index.js"
import { UserId } from "../../services/Model.js"
import { type ScopedStores, scopedStores, UserScope } from "../../services/UserScope.js"

type Stores = Effect.Effect.Context<ReturnType<(typeof scopedStores)[keyof typeof scopedStores]>>

/**
 * The stores of one user; `InvalidInput` if that is no user id.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (user: string): Effect.Effect<UserScope["Type"], InvalidInput, Stores> =>
  Effect.gen(function* () {
    if (Either.isLeft(Schema.validateEither(UserId)(user))) {
      return yield* invalidInput({ operation: "UserScope" }, "user", "is no user id", "1 to 255 characters without NUL")
    }
    const stores: Array<readonly [string, unknown]> = []
    for (const [name, of] of Object.entries(scopedStores)) stores.push([name, yield* of(user)])
    return { user, ...(Object.fromEntries(stores) as ScopedStores) }
  })

/**
 * Gives a handler the stores of the user that it works for.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (user: string): Layer.Layer<UserScope, InvalidInput, Stores> => Layer.effect(UserScope, make(user))
