import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import * as Tracer from "effect/Tracer"
import { DbError, type EmbeddingError } from "../../src/errors/index.js"
import * as BatchedEmbeddings from "../../src/layers/embeddings/BatchedEmbeddings.js"
import * as HttpEmbeddings from "../../src/layers/embeddings/HttpEmbeddings.js"
import { type Answer, type Asked, openAi, server, vectorOf } from "./server.js"

const texts = ["apple", "be", "cherry tree", "do", "elder"]

const made = (url: string, options: Partial<HttpEmbeddings.HttpOptions> = {}) =>
  Effect.provide(HttpEmbeddings.make({ url, model: "m", dimension: 3, retries: 2, ...options }), FetchHttpClient.layer)

const against = (answer: (asked: Asked, before: number) => Answer, options?: Partial<HttpEmbeddings.HttpOptions>) =>
  Effect.flatMap(server(answer), ({ asked, url }) =>
    Effect.map(made(url, options), (embeddings) => ({ asked, embeddings }))
  )

const embedded = (vectors: ReadonlyArray<Float32Array>) => vectors.map((vector) => Array.from(vector))

/** The error of a server that always answers so. */
const refusalBy = (answer: Answer, options?: Partial<HttpEmbeddings.HttpOptions>) =>
  Effect.gen(function* () {
    const { asked, embeddings } = yield* against(() => answer, options)
    const error = (yield* Effect.flip(embeddings.embedMany(["private text"]))) as EmbeddingError
    assert.strictEqual(error._tag, "EmbeddingError")
    return { error, requests: asked.length }
  })

describe("embeddings over HTTP", { timeout: 30_000 }, () => {
  it.scopedLive("of OpenAI: in batches, in the order of the texts, with the key as a bearer token", () =>
    Effect.gen(function* () {
      const { asked, embeddings } = yield* against(openAi, { batchSize: 2, apiKey: Redacted.make("sk-1") })
      assert.deepStrictEqual(embedded(yield* embeddings.embedMany(texts)), texts.map(vectorOf))
      assert.deepStrictEqual(Array.from(yield* embeddings.embed("fig")), vectorOf("fig"))
      assert.sameDeepMembers(
        asked.map(({ input }) => input),
        [["apple", "be"], ["cherry tree", "do"], ["elder"], ["fig"]]
      )
      assert.deepStrictEqual(asked[0]?.path, "/v1/embeddings")
      assert.isTrue(asked.every(({ authorization, model }) => authorization === "Bearer sk-1" && model === "m"))
      assert.deepStrictEqual(yield* embeddings.embedMany([]), [])
      assert.strictEqual(asked.length, 4)
    })
  )

  it.scopedLive("of servers that say more or less than OpenAI does", () =>
    Effect.gen(function* () {
      const answers: Readonly<Record<string, (asked: Asked) => Answer>> = {
        "Ollama, without usage": ({ input, model }) => ({
          body: { object: "list", model, data: input.map((text, index) => ({ embedding: vectorOf(text), index })) }
        }),
        "vLLM, with more": ({ input }) => ({
          body: {
            id: "embd-1",
            created: 1,
            data: input.map((text, index) => ({ object: "embedding", index, embedding: vectorOf(text) })),
            usage: { prompt_tokens: 8, total_tokens: 8, completion_tokens: 0, prompt_tokens_details: null }
          }
        }),
        "out of order": ({ input }) => ({
          body: { data: input.map((text, index) => ({ index, embedding: vectorOf(text) })).reverse() }
        }),
        "without positions": ({ input }) => ({ body: { data: input.map((text) => ({ embedding: vectorOf(text) })) } }),
        "without position 0": ({ input }) => ({
          body: { data: input.map((text, i) => ({ ...(i > 0 ? { index: i } : {}), embedding: vectorOf(text) })) }
        })
      }
      for (const [name, answer] of Object.entries(answers)) {
        const { embeddings } = yield* against(answer)
        assert.deepStrictEqual(embedded(yield* embeddings.embedMany(texts)), texts.map(vectorOf), name)
      }
    })
  )

  it.scopedLive("wait as long as a busy server asks for, and go on", () =>
    Effect.gen(function* () {
      const times: Array<number> = []
      const { asked, embeddings } = yield* against((one, before) => {
        times.push(performance.now())
        return before === 0 ? { status: 429, headers: { "retry-after": "1" }, body: {} } : openAi(one)
      })
      assert.deepStrictEqual(embedded(yield* embeddings.embedMany(texts)), texts.map(vectorOf))
      assert.strictEqual(asked.length, 2)
      assert.isAtLeast(times[1]! - times[0]!, 1000)
    })
  )

  it.effect("ask nobody, and say so at once, while a server wants to be left alone for more than a minute", () =>
    Effect.gen(function* () {
      let requests = 0
      const busy = { status: 429, retryAfter: "100" }
      const embeddings = yield* BatchedEmbeddings.make({ model: "m", dimension: 3 }, (texts) =>
        Effect.suspend(() =>
          requests++ === 0 ? BatchedEmbeddings.statusError("m", busy) : Effect.succeed(texts.map(vectorOf))
        )
      )
      const refused = () => Effect.map(Effect.flip(embeddings.embed("a")), (error) => error as EmbeddingError)
      assert.deepInclude(yield* refused(), { reason: "rate-limited", retryAfter: 100_000 })
      yield* TestClock.adjust("30 seconds")
      assert.deepInclude(yield* refused(), { reason: "rate-limited", retryable: true, retryAfter: 70_000 })
      assert.strictEqual(requests, 1)

      yield* TestClock.adjust("30 seconds")
      const waiting = yield* Effect.fork(embeddings.embed("a"))
      yield* TestClock.adjust("39 seconds")
      assert.strictEqual(requests, 1)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(Array.from(yield* Fiber.join(waiting)), vectorOf("a"))
    })
  )

  it.scopedLive("survive a server that fails once, and one that drops the connection", () =>
    Effect.gen(function* () {
      const failing = yield* against((one, before) => (before === 0 ? { status: 500, body: "oops" } : openAi(one)))
      assert.deepStrictEqual(embedded(yield* failing.embeddings.embedMany(["a"])), [vectorOf("a")])
      const silent = yield* against((one, before) => (before === 0 ? {} : openAi(one)), { timeout: "300 millis" })
      assert.deepStrictEqual(embedded(yield* silent.embeddings.embedMany(["a"])), [vectorOf("a")])
      assert.strictEqual(silent.asked.length, 2)
    })
  )

  it.scopedLive("a question waits for a model that is silent no longer than one attempt may take", () =>
    Effect.gen(function* () {
      const { asked, embeddings } = yield* against(() => ({}), { timeout: "100 millis", retries: 4 })
      const error = yield* Effect.flip(embeddings.embed("a question"))
      assert.deepInclude(error, { _tag: "EmbeddingError", reason: "timeout", retryable: true })
      assert.strictEqual(asked.length, 1)
    })
  )

  it.scopedLive("fail with the reason, sent again only where that may help", () =>
    Effect.gen(function* () {
      const limited = yield* refusalBy({ status: 429, headers: { "retry-after": "3600" }, body: {} })
      assert.deepInclude(limited.error, { reason: "rate-limited", retryable: true, status: 429, retryAfter: 3_600_000 })
      assert.strictEqual(limited.requests, 1, "an hour is not waited for")

      const broken = yield* refusalBy({ status: 503, body: "" })
      assert.deepInclude(broken.error, { reason: "unavailable", retryable: true, status: 503 })
      assert.strictEqual(broken.requests, 3)

      const silent = yield* refusalBy({}, { timeout: "50 millis", retries: 1 })
      assert.deepInclude(silent.error, { reason: "timeout", retryable: true })
      assert.strictEqual(silent.requests, 2)

      const spent = { error: { message: "private text", type: "insufficient_quota", code: "insufficient_quota" } }
      const final: ReadonlyArray<readonly [Answer, EmbeddingError["reason"]]> = [
        [{ status: 401, body: { error: { message: "wrong key sk-1", code: "invalid_api_key" } } }, "refused"],
        [{ status: 404, body: { error: "no such model" } }, "refused"],
        [{ status: 429, body: spent }, "refused"],
        [{ body: "<html>" }, "bad-answer"],
        [{ body: { error: "Unexpected endpoint" } }, "bad-answer"],
        [{ body: { data: [] } }, "bad-answer"],
        [{ body: { data: [{ embedding: [1, 2, 3] }, { embedding: [1, 2, 3] }] } }, "bad-answer"],
        [{ body: { data: [{ index: 1, embedding: [1, 2, 3] }] } }, "bad-answer"],
        [{ body: { data: [{ embedding: [0, 0, 0] }] } }, "bad-answer"],
        [{ body: { data: [{ embedding: [1, 2, null] }] } }, "bad-answer"],
        [{ body: { data: [{ embedding: "AACAPwAAAEAAAEBA" }] } }, "bad-answer"],
        [{ body: { data: [{ embedding: [1, 2] }] } }, "wrong-dimension"]
      ]
      for (const [answer, reason] of final) {
        const { error, requests } = yield* refusalBy(answer)
        assert.deepInclude(error, { reason, retryable: false, applied: "no" }, JSON.stringify(answer))
        assert.strictEqual(requests, 1)
      }
      const { error } = yield* refusalBy(final[0]![0])
      assert.strictEqual(error.code, "invalid_api_key")
      assert.match(error.message, /^The embedding model m refused the request: .*\(HTTP 401, invalid_api_key\)$/)
    })
  )

  it.scopedLive("fail when nobody listens", () =>
    Effect.gen(function* () {
      const { stop, url } = yield* server(openAi)
      yield* stop
      const error = (yield* Effect.flip((yield* made(url, { retries: 0 })).embed("a"))) as EmbeddingError
      assert.deepInclude(error, { reason: "unavailable", retryable: true })
    })
  )

  it.scopedLive("tell neither a text nor a key in errors and spans", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        ...native,
        span: (...args) => {
          const span = native.span(...args)
          spans.push(span)
          return span
        }
      })
      for (const answer of [openAi, () => ({ status: 400, body: { error: { message: "private text: sk-1" } } })]) {
        const { embeddings } = yield* against(answer, { apiKey: Redacted.make("sk-1") })
        const done = yield* Effect.exit(Effect.withTracer(embeddings.embedMany(["private text"]), tracer))
        if (done._tag === "Failure") {
          const error = yield* Effect.flip(done)
          assert.notMatch(JSON.stringify(yield* Schema.encode(DbError)(error)), /private text|sk-1/)
        }
      }
      assert.isNotEmpty(spans)
      for (const { attributes, events, name, status } of spans as ReadonlyArray<Tracer.Span & { events?: unknown }>) {
        assert.notMatch(
          `${name} ${JSON.stringify([...attributes, events])} ${String(JSON.stringify(status, (_, value) => (typeof value === "bigint" ? String(value) : value)))}`,
          /private text|sk-1/
        )
      }
      assert.deepInclude(Object.fromEntries(spans[0]!.attributes), { model: "m", count: 1 })
    })
  )

  it.scopedLive("a text that is longer than what the model reads is embedded by its beginning", () =>
    Effect.gen(function* () {
      const limited = (asked: Asked) =>
        asked.input.some((text) => text.length > 100) ? { status: 400, body: {} } : openAi(asked)
      const { asked, embeddings } = yield* against(limited, { maxTokens: 20 })
      const sentence = "the harbour at night "
      const long = [sentence.repeat(1000), "説".repeat(100), "x".repeat(100_000), `# Title\n\n${"word ".repeat(50)}`]
      const whole = ["a short one", "of few letters: a b c d"]
      const vectors = yield* embeddings.embedMany([...long, ...whole])
      const [{ input }] = asked as [Asked]
      assert.deepStrictEqual(embedded(vectors), input.map(vectorOf))
      assert.deepStrictEqual(input.slice(long.length), whole)
      for (const [i, text] of long.entries()) {
        assert.isTrue(text.startsWith(input[i]!) && input[i]! !== "", input[i])
        assert.isAtLeast(input[i]!.length, 7)
      }
      assert.deepStrictEqual(Array.from(yield* embeddings.embed(long[0]!)), vectorOf(input[0]!))
      const unlimited = yield* against(limited)
      assert.strictEqual((yield* Effect.flip(unlimited.embeddings.embed(long[0]!)))._tag, "EmbeddingError")
    })
  )

  it.effect("are refused with options that cannot be used", () =>
    Effect.gen(function* () {
      const refused: ReadonlyArray<readonly [Partial<HttpEmbeddings.HttpOptions>, string]> = [
        [{ url: "localhost:1234" }, "url"],
        [{ url: "http://user:pass@localhost/v1" }, "url"],
        [{ dimension: 0 }, "dimension"],
        [{ model: "" }, "model"],
        [{ maxTokens: 0 }, "maxTokens"],
        [{ batchSize: 0 }, "batchSize"],
        [{ concurrency: 0.5 }, "concurrency"],
        [{ retries: -1 }, "retries"]
      ]
      for (const [options, field] of refused) {
        const error = yield* Effect.flip(made("http://localhost/v1", options))
        assert.deepInclude(error, { _tag: "InvalidInput", field })
      }
    })
  )
})
