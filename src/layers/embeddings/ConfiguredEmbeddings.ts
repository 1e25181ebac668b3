/**
 * `Embeddings` as the configuration of the hub names them.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { EmbeddingsShape } from "../../services/Embeddings.js"
import type { EmbeddingsConfig } from "../../services/HubConfig.js"
import * as HashingEmbeddings from "./HashingEmbeddings.js"
import * as HttpEmbeddings from "./HttpEmbeddings.js"

/**
 * Feature hashing where none is configured. Asks nothing of a server until there is something to embed.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  config: EmbeddingsConfig = { type: "hashing", dimension: 384 }
): Effect.Effect<EmbeddingsShape, DbError> =>
  config.type === "hashing"
    ? HashingEmbeddings.make(config)
    : Effect.provide(HttpEmbeddings.make(config), FetchHttpClient.layer)
