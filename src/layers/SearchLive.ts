/**
 * `Search` over the text and the vector collection of one name.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DbError } from "../errors/index.js"
import { Backend, type BackendShape } from "../services/Backend.js"
import { Search, type SearchResult } from "../services/Search.js"
import { type Origin, refuse } from "../vector/index.js"
import * as HybridSearch from "./HybridSearch.js"

const { noneThere } = HybridSearch

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "transaction" | "text" | "vector">
): Context.Tag.Service<Search> => {
  const { text: texts, vector: vectors } = backend
  const hybrid = HybridSearch.make(backend)

  const operation = <A>(name: string, body: (at: Origin) => Effect.Effect<A, DbError>): Effect.Effect<A, DbError> =>
    Effect.suspend(() => body({ operation: `Search.${name}`, backend: backend.name }))

  /** A vector leg brings no texts of its own. */
  const withTexts = (results: ReadonlyArray<SearchResult>): Effect.Effect<ReadonlyArray<SearchResult>, DbError> =>
    Effect.gen(function* () {
      const missing = new Set(results.flatMap(({ collection, text }) => (text === null ? [collection] : [])))
      const found = new Map<string, ReadonlyMap<string, string>>()
      for (const collection of missing) {
        const ids = results.flatMap((each) => (each.collection === collection && each.text === null ? [each.id] : []))
        const stored = yield* noneThere(texts.get(collection, ids), [])
        found.set(collection, new Map(stored.map(({ id, text }) => [id, text])))
      }
      return results.map((result) => ({
        ...result,
        text: result.text ?? found.get(result.collection)?.get(result.id) ?? null
      }))
    })

  return {
    createCollection: (name, { dimension, language, metric, model } = {}) =>
      operation("createCollection", () => {
        const create = texts.createCollection(name, language === undefined ? {} : { language })
        if (dimension === undefined) return create
        const settings = {
          dimension,
          ...(metric === undefined ? {} : { metric }),
          ...(model === undefined ? {} : { model })
        }
        return backend.transaction(Effect.zipRight(create, vectors.createCollection(name, settings)))
      }),

    index: (collection, records) =>
      operation("index", (at) => {
        if (!Array.isArray(records)) return Effect.fail(refuse(at, "records", "is not a list", "a list of records"))
        const embedded = records.filter(({ vector }) => vector !== undefined)
        // The vector of an earlier text would find what is no longer there.
        const stale = records.filter(({ vector }) => vector === undefined).map(({ id }) => id)
        return backend.transaction(
          Effect.gen(function* () {
            yield* texts.insertMany(collection, records)
            if (stale.length > 0) yield* noneThere(vectors.delete(collection, stale), 0)
            if (embedded.length > 0) {
              yield* vectors.insertMany(
                collection,
                embedded.map(({ id, metadata = {}, vector = [] }) => ({ id, vector, metadata }))
              )
            }
          })
        )
      }),

    delete: (collection, ids) =>
      operation("delete", () =>
        backend.transaction(
          Effect.gen(function* () {
            const deleted = yield* texts.delete(collection, ids)
            yield* noneThere(vectors.delete(collection, ids), 0)
            return deleted
          })
        )
      ),

    dropCollection: (name) =>
      operation("dropCollection", () =>
        backend.transaction(
          Effect.zipRight(texts.dropCollection(name), noneThere(vectors.dropCollection(name), undefined))
        )
      ),

    search: (collections, request) =>
      operation("search", (at) =>
        Effect.gen(function* () {
          const names = Array.from(new Set(typeof collections === "string" ? [collections] : collections))
          if (names.length === 0) return yield* refuse(at, "collections", "are none", "the name of at least one")
          const sources = names.map((name) => ({ name, texts: name, vectors: name }))
          const answer = yield* hybrid(sources, yield* HybridSearch.check(request, at), at)
          return { ...answer, results: yield* withTexts(answer.results) }
        })
      )
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const SearchLive: Layer.Layer<Search, never, Backend> = Layer.effect(Search, Effect.map(Backend, make))
