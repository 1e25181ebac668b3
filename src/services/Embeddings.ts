/**
 * An embedding model: texts become vectors that are near to each other where the texts are.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"

/**
 * What vectors are comparable by: a model that keeps its name and changes its dimension is another one.
 *
 * @since 0.1.0
 * @category models
 */
export interface VectorModel {
  /** The name that collections record. */
  readonly model: string
  /** Of every vector. */
  readonly dimension: number
}

/**
 * An embedding model at hand.
 *
 * @since 0.1.0
 * @category models
 */
export interface EmbeddingsShape extends VectorModel {
  /** The vector of one text that somebody waits for, such as a question. */
  readonly embed: (text: string) => Effect.Effect<Float32Array, DbError>
  /** One vector for each text, in the order of the texts; all or none. */
  readonly embedMany: (texts: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Float32Array>, DbError>
}

/**
 * Fails with `EmbeddingError`, whose `reason` tells what passes by itself. No error and no span carries a text or a key.
 *
 * @since 0.1.0
 * @category tags
 */
export class Embeddings extends Context.Tag("effect-db-hub/Embeddings")<Embeddings, EmbeddingsShape>() {}
