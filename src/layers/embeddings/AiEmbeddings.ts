/**
 * `Embeddings` by the `EmbeddingModel` of `@effect/ai`, and so by any provider that has one.
 *
 * @since 0.1.0
 */
import type * as AiError from "@effect/ai/AiError"
import { EmbeddingModel, type Service } from "@effect/ai/EmbeddingModel"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { EmbeddingError, InvalidInput } from "../../errors/index.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import * as BatchedEmbeddings from "./BatchedEmbeddings.js"

const errorOf = (model: string, error: AiError.AiError): Effect.Effect<never, EmbeddingError> => {
  const failed = (reason: EmbeddingError["reason"]) => Effect.fail(BatchedEmbeddings.failure(model, reason))
  switch (error._tag) {
    case "HttpResponseError": {
      const { headers, status } = error.response
      return error.reason === "StatusCode"
        ? BatchedEmbeddings.statusError(model, { status, retryAfter: headers["retry-after"] })
        : failed("bad-answer")
    }
    case "MalformedInput":
      return failed("refused")
    case "MalformedOutput":
      return failed("bad-answer")
    default:
      return failed("unavailable")
  }
}

/**
 * The model's own batches and cache stay as they are; `InvalidInput` for options out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  embeddingModel: Service,
  options: BatchedEmbeddings.BatchOptions
): Effect.Effect<EmbeddingsShape, InvalidInput> =>
  BatchedEmbeddings.make(options, (texts) =>
    Effect.catchAllCause(embeddingModel.embedMany(texts), (cause) =>
      Option.match(Cause.failureOption(cause), {
        onSome: (error) => errorOf(options.model, error),
        // An answer that lacks a vector interrupts the request for it.
        onNone: () =>
          Cause.isInterruptedOnly(cause)
            ? Effect.fail(BatchedEmbeddings.failure(options.model, "bad-answer"))
            : Effect.failCause(cause as Cause.Cause<never>)
      })
    )
  )

/**
 * `Embeddings` by the `EmbeddingModel` of `@effect/ai` that is provided.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: BatchedEmbeddings.BatchOptions): Layer.Layer<Embeddings, InvalidInput, EmbeddingModel> =>
  Layer.effect(
    Embeddings,
    Effect.flatMap(EmbeddingModel, (embeddingModel) => make(embeddingModel, options))
  )
