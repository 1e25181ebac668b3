/**
 * Embeddings by a model that is asked for some texts at a time, may be busy, and may answer wrongly.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { EmbeddingError, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { EmbeddingsShape } from "../../services/Embeddings.js"
import { Chunking } from "../../vector/index.js"

/**
 * A model, and how it is asked.
 *
 * @since 0.1.0
 * @category models
 */
export interface BatchOptions {
  /** The name that collections record, and that a server knows the model by. */
  readonly model: string
  /** What the model's vectors have; an answer with another one is refused. */
  readonly dimension: number
  /**
   * What the model reads of a text: of a longer one the beginning is embedded. Tokens are estimated as in
   * `Chunking.chunk`, so leave room below the model's limit. By default texts go whole: some servers cut what is too
   * long, others refuse it.
   */
  readonly maxTokens?: number
  /** Texts in one request at most; default 64. */
  readonly batchSize?: number
  /** Requests that run at once at most; default 4. */
  readonly concurrency?: number
  /** The longest wait for one answer, and for the vector of a question in all; default 60 seconds. */
  readonly timeout?: Duration.DurationInput
  /**
   * How often a request that failed in passing is sent again, at most; default 4. Waits begin at 200 ms and double, and
   * are at least as long as the server asks for; one that asks for more than a minute is not waited for.
   */
  readonly retries?: number
}

/**
 * Asks the model for the vectors of some texts, in their order.
 *
 * @since 0.1.0
 * @category models
 */
export type AskModel = (
  texts: ReadonlyArray<string>
) => Effect.Effect<ReadonlyArray<ReadonlyArray<number>>, EmbeddingError>

const longestWait = 60_000

const reasons: Readonly<Record<EmbeddingError["reason"], { readonly retryable: boolean; readonly message: string }>> = {
  "rate-limited": { retryable: true, message: "is rate limited: try again later, or lower the concurrency" },
  timeout: { retryable: true, message: "did not answer in time" },
  unavailable: { retryable: true, message: "cannot be reached or has failed: check that its server runs" },
  refused: {
    retryable: false,
    message: "refused the request: check the key, the model's name and the length of texts"
  },
  "bad-answer": { retryable: false, message: "gave an answer that is not one vector of numbers for each text" },
  "wrong-dimension": { retryable: false, message: "gave vectors of another dimension than is configured" }
}

/**
 * The error of a reason, with its message.
 *
 * @since 0.1.0
 * @category errors
 */
export const failure = (
  model: string,
  reason: EmbeddingError["reason"],
  details: {
    readonly status?: number
    readonly code?: string
    readonly retryAfter?: number
    readonly message?: string
  } = {}
): EmbeddingError =>
  new EmbeddingError({
    operation: "Embeddings.embedMany",
    reason,
    model,
    retryable: reasons[reason].retryable,
    ...details,
    message: `The embedding model ${model} ${details.message ?? reasons[reason].message}`
  })

/** Milliseconds that a `Retry-After` header asks to wait, in seconds or as a date. */
const waitOf = (header: string, now: number): number => {
  const wait = /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now
  return Number.isNaN(wait) ? 0 : Math.max(0, Math.ceil(wait))
}

/** Spent money does not come back by waiting, though it has the status of a rate limit. */
const quota = /quota|billing|credit/i

const reasonOf = (status: number, code: string): EmbeddingError["reason"] => {
  if (status === 429) return quota.test(code) ? "refused" : "rate-limited"
  if (status === 408) return "timeout"
  return status >= 500 ? "unavailable" : "refused"
}

/**
 * The error that the HTTP status of an answer stands for. `retryAfter` is the header of that name, `code` the server's
 * own name of the error.
 *
 * @since 0.1.0
 * @category errors
 */
export const statusError = (
  model: string,
  answer: { readonly status: number; readonly retryAfter: string | undefined; readonly code?: string | undefined }
): Effect.Effect<never, EmbeddingError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { code, retryAfter, status } = answer
    const reason = reasonOf(status, code ?? "")
    const told = code === undefined ? `HTTP ${status}` : `HTTP ${status}, ${code}`
    return Effect.fail(
      failure(model, reason, {
        status,
        ...(code === undefined ? {} : { code }),
        ...(retryAfter === undefined ? {} : { retryAfter: waitOf(retryAfter, now) }),
        message: `${reasons[reason].message} (${told})`
      })
    )
  })

const wholeFrom = (field: string, value: number, least: number, most: number): Effect.Effect<void, InvalidInput> =>
  Number.isInteger(value) && value >= least && value <= most
    ? Effect.void
    : Effect.fail(
        invalidInput(
          { operation: "Embeddings.make" },
          field,
          "is out of range",
          `a whole number from ${least} to ${most}`
        )
      )

/** The beginning of a text that has more tokens; none has fewer letters than tokens. */
const beginning = (text: string, maxTokens: number): Effect.Effect<string, InvalidInput> =>
  text.length <= maxTokens
    ? Effect.succeed(text)
    : Effect.map(Chunking.chunk(text, { size: maxTokens, overlap: 0, unit: "tokens" }), ([first, second]) =>
        first === undefined || second === undefined ? text : first.text
      )

/**
 * `InvalidInput` for options out of range.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: BatchOptions, ask: AskModel): Effect.Effect<EmbeddingsShape, InvalidInput> =>
  Effect.gen(function* () {
    const {
      batchSize = 64,
      concurrency = 4,
      dimension,
      maxTokens,
      model,
      retries = 4,
      timeout = "60 seconds"
    } = options
    if (model === "")
      return yield* invalidInput({ operation: "Embeddings.make" }, "model", "is empty", "the name of a model")
    yield* wholeFrom("dimension", dimension, 1, 65_535)
    if (maxTokens !== undefined) yield* wholeFrom("maxTokens", maxTokens, 1, Number.MAX_SAFE_INTEGER)
    yield* wholeFrom("batchSize", batchSize, 1, 10_000)
    yield* wholeFrom("concurrency", concurrency, 1, 1000)
    yield* wholeFrom("retries", retries, 0, 100)

    /** When requests may go on after a server said that there are too many. */
    let resumeAt = 0
    const pause = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const retryAfter = resumeAt - now
      if (retryAfter > longestWait) return Effect.fail(failure(model, "rate-limited", { retryAfter }))
      return retryAfter > 0 ? Effect.sleep(retryAfter) : Effect.void
    })
    const slowDown = ({ retryAfter = 0 }: EmbeddingError) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        resumeAt = Math.max(resumeAt, now + retryAfter)
      })

    const again = Schedule.identity<EmbeddingError>().pipe(
      Schedule.intersect(Schedule.jittered(Schedule.exponential("200 millis"))),
      Schedule.intersect(Schedule.recurs(retries)),
      Schedule.whileInput(({ retryAfter = 0, retryable }: EmbeddingError) => retryable && retryAfter <= longestWait),
      Schedule.modifyDelay(([[{ retryAfter = 0 }]], delay) => Duration.max(delay, retryAfter))
    )

    const check = (texts: ReadonlyArray<string>, vectors: ReadonlyArray<ReadonlyArray<number>>) => {
      if (vectors.length !== texts.length) {
        const message = `gave ${vectors.length} vectors for ${texts.length} texts`
        return Effect.fail(failure(model, "bad-answer", { message }))
      }
      const wrong = vectors.find((vector) => vector.length !== dimension)
      if (wrong !== undefined) {
        const message = `gave vectors of ${wrong.length} dimensions, not of the ${dimension} that are configured`
        return Effect.fail(failure(model, "wrong-dimension", { message }))
      }
      const embedded = vectors.map((vector) => Float32Array.from(vector))
      return embedded.every((vector) => vector.every(Number.isFinite) && vector.some((component) => component !== 0))
        ? Effect.succeed(embedded)
        : Effect.fail(
            failure(model, "bad-answer", { message: "gave a vector of zeros, or one that is not of numbers" })
          )
    }

    const embedBatch = (texts: ReadonlyArray<string>) =>
      pause.pipe(
        Effect.zipRight(
          Effect.timeoutFail(ask(texts), { duration: timeout, onTimeout: () => failure(model, "timeout") })
        ),
        Effect.tapError(slowDown),
        Effect.retry(again),
        Effect.flatMap((vectors) => check(texts, vectors))
      )

    const embedMany = (texts: ReadonlyArray<string>) =>
      Effect.forEach(texts, (text) => beginning(text, maxTokens ?? Infinity)).pipe(
        Effect.flatMap((texts) => Effect.forEach(Arr.chunksOf(texts, batchSize), embedBatch, { concurrency })),
        Effect.map(Arr.flatten),
        Effect.withSpan("Embeddings.embedMany", { attributes: { model, count: texts.length } })
      )

    /** Somebody waits for the vector of a question: all attempts at it take no longer than one at a batch. */
    const embed = (text: string) =>
      Effect.timeoutFail(embedMany([text]), { duration: timeout, onTimeout: () => failure(model, "timeout") }).pipe(
        Effect.map(([vector]) => vector!)
      )

    return { model, dimension, embedMany, embed }
  })
