import * as AiError from "@effect/ai/AiError"
import * as EmbeddingModel from "@effect/ai/EmbeddingModel"
import * as OpenAiClient from "@effect/ai-openai/OpenAiClient"
import * as OpenAiEmbeddingModel from "@effect/ai-openai/OpenAiEmbeddingModel"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { EmbeddingError } from "../../src/errors/index.js"
import * as AiEmbeddings from "../../src/layers/embeddings/AiEmbeddings.js"
import { Embeddings } from "../../src/services/Embeddings.js"
import { openAi, server, vectorOf } from "./server.js"

const options = { model: "m", dimension: 3, retries: 0 }

const failing = (embedMany: Parameters<typeof EmbeddingModel.make>[0]["embedMany"]) =>
  Effect.gen(function* () {
    const embeddings = yield* AiEmbeddings.make(yield* EmbeddingModel.make({ embedMany }), options)
    return (yield* Effect.flip(embeddings.embedMany(["one", "two"]))) as EmbeddingError
  })

describe("embeddings by a model of @effect/ai", () => {
  it.scopedLive("are those of its provider", () =>
    Effect.gen(function* () {
      const { url } = yield* server(openAi)
      const layer = AiEmbeddings.layer(options).pipe(
        Layer.provide(OpenAiEmbeddingModel.layerBatched({ model: "m" })),
        Layer.provide(OpenAiClient.layer({ apiUrl: url })),
        Layer.provide(FetchHttpClient.layer)
      )
      const embeddings = yield* Effect.provide(Embeddings, layer)
      assert.deepStrictEqual(
        { ...embeddings, embed: 0, embedMany: 0 },
        { model: "m", dimension: 3, embed: 0, embedMany: 0 }
      )
      const vectors = yield* embeddings.embedMany(["one", "three"])
      assert.deepStrictEqual(
        vectors.map((vector) => Array.from(vector)),
        [vectorOf("one"), vectorOf("three")]
      )
    })
  )

  it.effect("fail as typed errors, whatever the provider does", () =>
    Effect.gen(function* () {
      const malformed = { module: "Test", method: "embedMany", description: "one" }
      assert.strictEqual(
        (yield* failing(() => Effect.fail(new AiError.MalformedOutput(malformed)))).reason,
        "bad-answer"
      )
      assert.strictEqual((yield* failing(() => Effect.fail(new AiError.MalformedInput(malformed)))).reason, "refused")
      const unknown = yield* failing(() => Effect.fail(new AiError.UnknownError(malformed)))
      assert.deepInclude(unknown, { reason: "unavailable", retryable: true })
      assert.notInclude(unknown.message, "one")
      const vector = (index: number) => ({ index, embeddings: [1, 2, 3] })
      assert.strictEqual((yield* failing(() => Effect.succeed([vector(0)]))).reason, "bad-answer")
      const short = yield* failing((texts) => Effect.succeed(texts.map((_, index) => ({ index, embeddings: [1] }))))
      assert.strictEqual(short.reason, "wrong-dimension")
    })
  )
})
