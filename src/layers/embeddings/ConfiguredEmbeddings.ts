/**
 * `Embeddings` as the configuration of the hub names them.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { EmbeddingsShape } from "../../services/Embeddings.js"
import type { EmbeddingsConfig } from "../../services/HubConfig.js"
import * as CachedEmbeddings from "./CachedEmbeddings.js"
import * as HashingEmbeddings from "./HashingEmbeddings.js"
import * as HttpEmbeddings from "./HttpEmbeddings.js"

/**
 * Feature hashing where none is configured. A server is asked nothing before there is something to embed, and what it
 * answers is kept in the backend.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  config: EmbeddingsConfig = { type: "hashing", dimension: 384 },
  backend: BackendShape
): Effect.Effect<EmbeddingsShape, DbError> => {
  if (config.type === "hashing") return HashingEmbeddings.make(config)
  const embeddings = Effect.provide(HttpEmbeddings.make(config), FetchHttpClient.layer)
  return config.cacheSize === 0
    ? embeddings
    : Effect.flatMap(embeddings, (made) => CachedEmbeddings.make(made, backend, { capacity: config.cacheSize }))
}
