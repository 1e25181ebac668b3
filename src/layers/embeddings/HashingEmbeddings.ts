/**
 * `Embeddings` without a model, by feature hashing. Lexical: it finds texts by their wording, not by their meaning.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { InvalidInput } from "../../errors/index.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import { HashingEmbedder } from "../../vector/index.js"

/** Texts after which the event loop is let go. */
const slice = 16

/**
 * Dimension 384 unless told, 16 to 65535; `InvalidInput` otherwise.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: { readonly dimension?: number } = {}): Effect.Effect<EmbeddingsShape, InvalidInput> =>
  Effect.map(HashingEmbedder.make(options), ({ dimension, embed, model }) => ({
    model,
    dimension,
    embed: (text) => Effect.sync(() => embed(text)),
    embedMany: (texts) =>
      Effect.forEach(texts, (text, i) =>
        i % slice === slice - 1
          ? Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => embed(text))
            )
          : Effect.sync(() => embed(text))
      )
  }))

/**
 * `Embeddings` without a model: offline, and lexical. Dimension 384 unless told.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: { readonly dimension?: number } = {}): Layer.Layer<Embeddings, InvalidInput> =>
  Layer.effect(Embeddings, make(options))
