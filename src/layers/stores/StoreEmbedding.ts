/**
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { invalidInput } from "../../errors/index.js"
import { Backend } from "../../services/Backend.js"
import { ConversationStore } from "../../services/ConversationStore.js"
import { Embeddings } from "../../services/Embeddings.js"
import { MemoryStore } from "../../services/MemoryStore.js"
import { UserId } from "../../services/Model.js"
import type { EmbedOptions } from "../../services/Search.js"
import { StoreEmbedding, type StoreEmbeddingOptions } from "../../services/StoreEmbedding.js"
import { WorkspaceStore } from "../../services/WorkspaceStore.js"
import { Records } from "../../vector/index.js"
import type { Refused } from "../search/EmbeddingPass.js"
import * as StorePass from "./StorePass.js"

/** What is needed to embed what the stores keep. */
type Needed = Backend | Embeddings | ConversationStore | MemoryStore | WorkspaceStore

const made = Effect.gen(function* () {
  const kinds = [
    StorePass.memories(yield* MemoryStore),
    StorePass.messages(yield* ConversationStore),
    StorePass.chunks(yield* WorkspaceStore)
  ]
  return StorePass.make(yield* Backend, kinds, yield* Embeddings)
})

const isUser = Schema.is(UserId)

const checked = (options: StoreEmbeddingOptions & EmbedOptions, operation: string) =>
  Effect.gen(function* () {
    const at = { operation: `StoreEmbedding.${operation}` }
    const { onProgress, user } = yield* Records.checkObject(options, "options", at, ["user", "onProgress"])
    if (user !== undefined && !isUser(user)) {
      return yield* invalidInput(at, "user", "is no user id", "a string of 1 to 255 characters without NUL")
    }
    if (onProgress !== undefined && typeof onProgress !== "function") {
      return yield* invalidInput(at, "onProgress", "is no function", "a function that makes an effect")
    }
    return options
  })

/**
 * Embeds what the stores keep by the `Embeddings` at hand, when it is asked to.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StoreEmbedding, never, Needed> = Layer.effect(
  StoreEmbedding,
  Effect.map(
    made,
    ({ pass, pending }): Context.Tag.Service<StoreEmbedding> => ({
      pending: (given = {}) => Effect.flatMap(checked(given, "pending"), pending),
      embedPending: (given = {}) =>
        Effect.gen(function* () {
          const { onProgress, ...options } = yield* checked(given, "embedPending")
          const { embedded, failed, refused } = yield* pass(options, new Map(), onProgress)
          return {
            embedded,
            refused: refused.size,
            pending: yield* pending(options),
            ...(failed === undefined ? {} : { failed })
          }
        })
    })
  )
)

/** Between one look at what waits and the next; and after a failure. */
const pause = Duration.seconds(5)
const pauseAfterFailure = Duration.minutes(1)

/**
 * Embeds what the stores keep in a fiber of its own for as long as the layer is there, within seconds after it was
 * written. A text that the model refuses is asked for once. One process of those that share a database is enough.
 *
 * @since 0.1.0
 * @category layers
 */
export const background: Layer.Layer<never, never, Needed> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const { pass } = yield* made
    let refused: Refused = new Map()
    let told: string | undefined
    const tell = (message: string | undefined) =>
      Effect.suspend(() => {
        const known = message === told
        told = message
        return known || message === undefined
          ? Effect.void
          : Effect.logWarning(`Texts wait for their vectors: ${message}`)
      })
    const round = Effect.gen(function* () {
      const { failed, refused: found, stopped } = yield* pass({}, refused)
      // Of what is gone or was changed, nothing is kept.
      refused = stopped ? new Map([...refused, ...found]) : found
      yield* tell(failed?.message)
      return stopped
    }).pipe(
      Effect.catchAll((error) => Effect.as(tell(error.message), true)),
      Effect.flatMap((stopped) => Effect.sleep(stopped ? pauseAfterFailure : pause))
    )
    const ended = (cause: Cause.Cause<never>) => Effect.logError("Texts get no vectors any more", cause)
    yield* Effect.forkScoped(Effect.tapDefect(Effect.forever(round), ended))
  })
)
