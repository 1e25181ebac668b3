/**
 * Vectors for what the stores keep: memories, messages and chunks of documents are found by words at once, and by their
 * meaning once they have been embedded by the model at hand.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"
import type { EmbeddingReport, EmbedOptions } from "./Search.js"

/**
 * Whose things are meant.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreEmbeddingOptions {
  /** Only what is this user's; everybody's by default. */
  readonly user?: string
}

/**
 * What became of things that lacked a vector.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreEmbeddingReport extends Omit<EmbeddingReport, "refused"> {
  /** Those of the pending ones that the model refused one by one, and will refuse again. */
  readonly refused: number
}

/**
 * The vectors of what the stores keep: messages, memories and documents.
 *
 * @since 0.1.0
 * @category tags
 */
export class StoreEmbedding extends Context.Tag("effect-db-hub/StoreEmbedding")<
  StoreEmbedding,
  {
    /** How many lack a vector of the model at hand; what is blank needs none. */
    readonly pending: (options?: StoreEmbeddingOptions) => Effect.Effect<number, DbError>
    /**
     * Gives all that lack a vector of the model at hand one, batch by batch, the model asked outside of transactions.
     * What changes meanwhile keeps waiting; what the model refuses one by one stays pending, found by its words. Killed
     * or stopped, it goes on from there when it is called again. A model that fails does not fail it: the report says why.
     */
    readonly embedPending: (
      options?: StoreEmbeddingOptions & EmbedOptions
    ) => Effect.Effect<StoreEmbeddingReport, DbError>
  }
>() {}
