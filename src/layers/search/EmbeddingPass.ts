/**
 * Going through texts that wait for their vectors, batch by batch.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { DbError, EmbeddingError } from "../../errors/index.js"
import type { EmbeddingsShape, VectorModel } from "../../services/Embeddings.js"
import type { Progress } from "../../services/Progress.js"

/**
 * A text that waits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Waiting {
  /** Tells one text from a later one in its place. */
  readonly key: string
  readonly text: string
}

/**
 * Whether there is nothing in a text to embed.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isBlank = (text: string): boolean => text.trim() === ""

/**
 * A model's name and its dimension as one thing.
 *
 * @since 0.1.0
 * @category models
 */
export const nameOf = ({ dimension, model }: VectorModel): string => `${model} ${dimension}`

/**
 * Why the model refuses each of some texts, by their keys.
 *
 * @since 0.1.0
 * @category models
 */
export type Refused = ReadonlyMap<string, EmbeddingError>

/**
 * What came of going through what waits.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pass {
  readonly embedded: number
  /** What the model refuses, and what was left out and still waits, by their keys. */
  readonly refused: Refused
  /** Whether the model failed before all was looked at. */
  readonly stopped: boolean
  readonly failed?: EmbeddingError
}

/**
 * Where texts wait, and where their vectors go.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source<W extends Waiting> {
  /** How many wait. */
  readonly total: Effect.Effect<number, DbError>
  /** The next of them, and how many were looked at for these; undefined after the last. */
  readonly next: Effect.Effect<{ readonly seen: number; readonly waiting: ReadonlyArray<W> } | undefined, DbError>
  /** Writes the vectors of texts that nobody has changed since; succeeds with their number. */
  readonly fill: (waiting: ReadonlyArray<W>, vectors: ReadonlyArray<Float32Array>) => Effect.Effect<number, DbError>
}

/**
 * @since 0.1.0
 * @category models
 */
export type OnProgress = (progress: Progress) => Effect.Effect<void>

/**
 * @since 0.1.0
 * @category constants
 */
export const nothing: Pass = { embedded: 0, refused: new Map(), stopped: false }

/**
 * One pass after another.
 *
 * @since 0.1.0
 * @category combinators
 */
export const together = (a: Pass, b: Pass): Pass => ({
  ...a,
  ...b,
  embedded: a.embedded + b.embedded,
  refused: new Map([...a.refused, ...b.refused])
})

/**
 * @since 0.1.0
 * @category guards
 */
export const isEmbeddingError = (error: DbError): error is EmbeddingError => error._tag === "EmbeddingError"

const stop = (failed: EmbeddingError): Pass => ({ ...nothing, failed, stopped: true })

/** Whether a model may have refused one of several texts rather than all of them. */
const isOfOneText = ({ reason, status = 0 }: EmbeddingError): boolean =>
  reason === "bad-answer" || (reason === "refused" && [400, 413, 422].includes(status))

/** Asks for all at once; `refusal` is what becomes of them where the model may have refused one of them. */
const attempt = <W extends Waiting>(
  embedder: EmbeddingsShape,
  fill: Source<W>["fill"],
  waiting: ReadonlyArray<W>,
  refusal: (failed: EmbeddingError) => Effect.Effect<Pass, DbError>
): Effect.Effect<Pass, DbError> =>
  embedder.embedMany(waiting.map(({ text }) => text)).pipe(
    Effect.flatMap((made) => fill(waiting, made)),
    Effect.map((embedded): Pass => ({ ...nothing, embedded })),
    Effect.catchIf(isEmbeddingError, (failed) => (isOfOneText(failed) ? refusal(failed) : Effect.succeed(stop(failed))))
  )

const inHalves = <W extends Waiting>(
  embedder: EmbeddingsShape,
  fill: Source<W>["fill"],
  waiting: ReadonlyArray<W>,
  failed: EmbeddingError
): Effect.Effect<Pass, DbError> => {
  if (waiting.length === 1) {
    return Effect.succeed({ ...nothing, refused: new Map(waiting.map(({ key }) => [key, failed])), failed })
  }
  const [first, second] = Arr.splitAt(waiting, Math.ceil(waiting.length / 2))
  const half = (some: ReadonlyArray<W>) =>
    attempt(embedder, fill, some, (failed) => inHalves(embedder, fill, some, failed))
  return Effect.flatMap(half(first), (one) =>
    one.stopped ? Effect.succeed(one) : Effect.map(half(second), (other) => together(one, other))
  )
}

/** Who refuses this refuses everything. Each time another one, which no cache answers in place of the model. */
const harmless = (): string => `text ${NodeCrypto.randomUUID()}`

/**
 * Embeds texts together, or, where the model refuses one of them, in halves. Stops where it fails otherwise, and where it
 * refuses any text at all.
 *
 * @since 0.1.0
 * @category combinators
 */
export const embed = <W extends Waiting>(
  embedder: EmbeddingsShape,
  fill: Source<W>["fill"],
  waiting: ReadonlyArray<W>
): Effect.Effect<Pass, DbError> =>
  attempt(embedder, fill, waiting, (failed) =>
    embedder.embed(harmless()).pipe(
      Effect.matchEffect({
        onSuccess: () => inHalves(embedder, fill, waiting, failed),
        onFailure: (error) => (isEmbeddingError(error) ? Effect.succeed(stop(error)) : Effect.fail(error))
      })
    )
  )

/**
 * Goes once through a source, but for some keys. Stops where the model fails; goes on where it refuses single texts.
 * What waits is counted for who wants to know of the progress: that may read all of it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const run = <W extends Waiting>(
  embedder: EmbeddingsShape,
  { fill, next, total }: Source<W>,
  skip: Refused,
  onProgress?: OnProgress
): Effect.Effect<Pass, DbError> =>
  Effect.gen(function* () {
    let [pass, done] = [nothing, 0]
    const all = onProgress === undefined ? 0 : yield* total
    while (true) {
      const batch = yield* next
      if (batch === undefined) return pass
      const [waiting, left] = Arr.partition(batch.waiting, ({ key }) => skip.has(key))
      pass = together(pass, { ...nothing, refused: new Map(left.map(({ key }) => [key, skip.get(key)!])) })
      if (waiting.length > 0) pass = together(pass, yield* embed(embedder, fill, waiting))
      if (pass.stopped) return pass
      done += batch.seen
      if (onProgress !== undefined) yield* onProgress({ done, total: Math.max(all, done) })
    }
  })
