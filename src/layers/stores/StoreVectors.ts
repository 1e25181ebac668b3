/**
 * The vectors of what stores keep: those of one model and dimension lie together in a vector collection, which is made
 * when it is first needed. Somebody may drop it; then what was in it is gone.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import type { VectorRecord, VectorStore } from "../../services/VectorStore.js"

/**
 * The vector collection of what is in a text collection.
 *
 * @since 0.1.0
 * @category names
 */
export const collectionOf = (texts: string, model: string, dimension: number): string =>
  `${texts}_${dimension}_${StoreTexts.hashOf(model).slice(0, 32)}`

const isNoCollection = (error: DbError): boolean => error._tag === "NotFound" && error.entity === "collection"

/**
 * What a collection answers, or else what one that is not there would.
 *
 * @since 0.1.0
 * @category combinators
 */
export const ifThere = <A>(answer: Effect.Effect<A, DbError>, otherwise: A): Effect.Effect<A, DbError> =>
  Effect.catchIf(answer, isNoCollection, () => Effect.succeed(otherwise))

/**
 * Inserts or replaces vectors of one model and dimension.
 *
 * @since 0.1.0
 * @category writing
 */
export const put = (
  vectors: Context.Tag.Service<VectorStore>,
  collection: string,
  model: string,
  records: ReadonlyArray<VectorRecord>
): Effect.Effect<void, DbError> => {
  const [first] = records
  if (first === undefined) return Effect.void
  const create = vectors.createCollection(collection, { dimension: first.vector.length, metric: "cosine", model })
  const insert = vectors.insertMany(collection, records)
  return Effect.catchIf(insert, isNoCollection, () => Effect.zipRight(create, insert))
}

/**
 * @since 0.1.0
 * @category writing
 */
export const drop = (
  vectors: Context.Tag.Service<VectorStore>,
  collection: string,
  ids: ReadonlyArray<string>
): Effect.Effect<void, DbError> => Effect.asVoid(ifThere(vectors.delete(collection, ids), 0))
