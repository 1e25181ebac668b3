/**
 * The search of a store over what it keeps.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type DbError, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { UserId } from "../../services/Model.js"
import type { Ranks, SearchResult, StoreSearchAnswer, StoreSearchRequest } from "../../services/Search.js"
import { type FilterInput, Records } from "../../vector/index.js"
import * as HybridSearch from "../search/HybridSearch.js"

/** How well a result fits, without what it is. */
const ranksOf = ({ collection: _, id: _id, metadata: _metadata, text: _text, ...ranks }: SearchResult): Ranks => ranks

/**
 * What a field of a request must be, and how that is told.
 *
 * @since 0.1.0
 * @category validation
 */
export type Rule = readonly [is: (value: unknown) => boolean, allowed: string]

const isText = (value: unknown): value is string => typeof value === "string"

/**
 * @since 0.1.0
 * @category validation
 */
export const text: Rule = [isText, "a string"]

/**
 * @since 0.1.0
 * @category validation
 */
export const texts: Rule = [(value) => Array.isArray(value) && value.every(isText), "a list of strings"]

/**
 * @since 0.1.0
 * @category validation
 */
export const object: Rule = [
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "an object of options"
]

const embedding: Rule = [
  (value) => {
    const [isObject] = object
    if (!isObject(value)) return false
    const { model, vector } = value as { readonly model?: unknown; readonly vector?: unknown }
    return Records.isModel(model) && (Array.isArray(vector) || vector instanceof Float32Array)
  },
  "{ model, vector }, a name and numbers"
]

const isUser = Schema.is(UserId)

/**
 * What a request may have in every store.
 *
 * @since 0.1.0
 * @category constants
 */
export const fields: ReadonlyArray<string> = [
  ...HybridSearch.fields.filter((field) => field !== "filter" && field !== "vector"),
  "embedding"
]

/**
 * The request, if it is one with these fields, and each of those that only this store knows, and its embedding, is what
 * it must be.
 *
 * @since 0.1.0
 * @category validation
 */
export const checked = <R extends object>(
  user: string,
  request: R,
  fields: ReadonlyArray<string>,
  rules: Readonly<Record<string, Rule>>,
  at: ErrorContext
): Effect.Effect<R, InvalidInput> => {
  const known = [...fields, ...Object.keys(rules)]
  return Effect.flatMap(Records.checkObject(request, "request", at, known), (given) => {
    if (!isUser(user)) {
      return Effect.fail(invalidInput(at, "user", "is no user id", "a string of 1 to 255 characters without NUL"))
    }
    for (const [field, [is, allowed]] of Object.entries({ embedding, ...rules })) {
      const value = (given as Readonly<Record<string, unknown>>)[field]
      if (value !== undefined && !is(value)) return Effect.fail(invalidInput(at, field, "cannot be used", allowed))
    }
    return Effect.succeed(given)
  })
}

/**
 * Searches a text collection, and the vector collection of the model of the request's embedding, under a filter.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: Pick<BackendShape, "query" | "text" | "vector">) => {
  const hybrid = HybridSearch.make(backend)
  return <Embedding extends NonNullable<StoreSearchRequest["embedding"]>>(
    texts: string,
    vectorCollection: (embedding: Embedding) => string,
    { embedding, ...request }: Omit<StoreSearchRequest, "embedding"> & { readonly embedding?: Embedding },
    filter: FilterInput,
    at: ErrorContext
  ): Effect.Effect<HybridSearch.HybridAnswer, DbError> =>
    Effect.gen(function* () {
      const vector = embedding === undefined ? {} : { vector: embedding.vector }
      const checked = yield* HybridSearch.check({ ...request, ...vector, filter }, at)
      const vectors = embedding === undefined ? texts : vectorCollection(embedding)
      return yield* hybrid([{ name: texts, texts, vectors, maybeNoVectors: true }], checked, at)
    })
}

/**
 * The answer with the things that were found; what was deleted meanwhile is left out.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withFound = <A extends object>(
  { failed, results }: HybridSearch.HybridAnswer,
  found: (result: SearchResult) => A | undefined
): StoreSearchAnswer<A> => ({
  failed,
  results: results.flatMap((result) => {
    const what = found(result)
    return what === undefined ? [] : [{ ...what, ...ranksOf(result) }]
  })
})
