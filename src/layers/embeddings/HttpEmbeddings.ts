/**
 * `Embeddings` by a server that answers `POST …/embeddings` as OpenAI does: OpenAI, Ollama, LM Studio, vLLM and others.
 *
 * Of an answer only the vectors and their positions are read, since servers differ in everything else.
 *
 * @since 0.1.0
 */
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { type EmbeddingError, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import * as BatchedEmbeddings from "./BatchedEmbeddings.js"

/**
 * A server with the API of OpenAI, and its model.
 *
 * @since 0.1.0
 * @category models
 */
export interface HttpOptions extends BatchedEmbeddings.BatchOptions {
  /** Where the API begins, such as `https://api.openai.com/v1` or `http://localhost:11434/v1` (Ollama). */
  readonly url: string
  /** Sent as a bearer token. */
  readonly apiKey?: Redacted.Redacted
}

const Answer = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      // Some servers leave it out, or leave out that of the first.
      index: Schema.optional(Schema.Int),
      embedding: Schema.Array(Schema.Number)
    })
  )
})

const Refusal = Schema.Struct({
  error: Schema.Struct({ code: Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9_.-]{1,64}$/)) })
})

/** The vectors by the positions they name; undefined unless each position is named once. */
const inOrder = ({ data }: typeof Answer.Type): ReadonlyArray<ReadonlyArray<number>> | undefined => {
  const placed = new Map(data.map(({ embedding, index }, i) => [index ?? i, embedding]))
  const ordered = data.flatMap((_, i) => {
    const vector = placed.get(i)
    return vector === undefined ? [] : [vector]
  })
  return ordered.length === data.length ? ordered : undefined
}

const isUrl = (url: string): boolean => {
  if (!URL.canParse(url)) return false
  const { hash, password, protocol, username } = new URL(url)
  return /^https?:$/.test(protocol) && `${username}${password}${hash}` === ""
}

/**
 * `InvalidInput` for options out of range, and for a URL that is not one of HTTP or carries a password.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: HttpOptions): Effect.Effect<EmbeddingsShape, InvalidInput, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const { apiKey, model, url } = options
    if (!isUrl(url)) {
      const allowed = "an http or https URL without a user or password, such as http://localhost:11434/v1"
      return yield* invalidInput({ operation: "HttpEmbeddings.make" }, "url", "cannot be used", allowed)
    }
    // Its own spans and errors would quote the URL.
    const client = HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true)
    const endpoint = HttpClientRequest.post(url.replace(/\/*(\?|$)/, "/embeddings$1")).pipe(
      HttpClientRequest.acceptJson,
      apiKey === undefined ? identity : HttpClientRequest.bearerToken(apiKey)
    )
    const failed = (reason: EmbeddingError["reason"]) => BatchedEmbeddings.failure(model, reason)

    const read = (response: HttpClientResponse.HttpClientResponse) =>
      response.status >= 200 && response.status < 300
        ? HttpClientResponse.schemaBodyJson(Answer)(response).pipe(
            Effect.map(inOrder),
            Effect.catchTags({
              ParseError: () => Effect.fail(failed("bad-answer")),
              ResponseError: ({ reason }) => Effect.fail(failed(reason === "Decode" ? "bad-answer" : "unavailable"))
            }),
            Effect.filterOrFail(
              (vectors) => vectors !== undefined,
              () => failed("bad-answer")
            )
          )
        : Effect.flatMap(Effect.option(HttpClientResponse.schemaBodyJson(Refusal)(response)), (refusal) =>
            BatchedEmbeddings.statusError(model, {
              status: response.status,
              retryAfter: response.headers["retry-after"],
              code: Option.getOrUndefined(refusal)?.error.code
            })
          )

    return yield* BatchedEmbeddings.make(options, (texts) =>
      client
        .execute(
          HttpClientRequest.setBody(endpoint, HttpBody.unsafeJson({ model, input: texts, encoding_format: "float" }))
        )
        .pipe(
          Effect.catchAll(() => Effect.fail(failed("unavailable"))),
          Effect.flatMap(read)
        )
    )
  })

/**
 * `Embeddings` by a server with the API of OpenAI: OpenAI, Ollama, LM Studio, vLLM and others.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: HttpOptions): Layer.Layer<Embeddings, InvalidInput, HttpClient.HttpClient> =>
  Layer.effect(Embeddings, make(options))
