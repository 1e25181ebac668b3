/**
 * The search of a store over what it keeps.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError, ErrorContext } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Ranks, SearchResult, StoreSearchAnswer, StoreSearchRequest } from "../../services/Search.js"
import type { FilterInput } from "../../vector/index.js"
import * as HybridSearch from "../search/HybridSearch.js"

/** How well a result fits, without what it is. */
const ranksOf = ({ collection: _, id: _id, metadata: _metadata, text: _text, ...ranks }: SearchResult): Ranks => ranks

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
