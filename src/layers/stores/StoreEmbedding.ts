/**
 * @since 0.1.0
 */

import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend } from "../../services/Backend.js"
import { ConversationStore } from "../../services/ConversationStore.js"
import { Embeddings } from "../../services/Embeddings.js"
import { MemoryStore } from "../../services/MemoryStore.js"
import { StoreEmbedding } from "../../services/StoreEmbedding.js"
import { WorkspaceStore } from "../../services/WorkspaceStore.js"
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

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StoreEmbedding, never, Needed> = Layer.effect(
  StoreEmbedding,
  Effect.map(
    made,
    ({ pass, pending }): Context.Tag.Service<StoreEmbedding> => ({
      pending,
      embedPending: ({ onProgress = () => Effect.void, ...options } = {}) =>
        Effect.gen(function* () {
          const { embedded, failed, refused } = yield* pass(options, new Set(), onProgress)
          return {
            embedded,
            refused: refused.length,
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
    let refused: ReadonlySet<string> = new Set()
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
      const { failed, refused: keys, stopped } = yield* pass({}, refused, () => Effect.void)
      // Of what is gone or was changed, nothing is kept.
      refused = new Set(stopped ? [...refused, ...keys] : keys)
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
