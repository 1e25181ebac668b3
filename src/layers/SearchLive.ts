/**
 * `Search` over the text and the vector collection of one name.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { type DbError, type InvalidInput, NotFound } from "../errors/index.js"
import { Backend, type BackendShape } from "../services/Backend.js"
import {
  type FailedLeg,
  type FusionOptions,
  Search,
  type SearchAnswer,
  type SearchMode,
  type SearchRequest,
  type SearchResult
} from "../services/Search.js"
import type { TextHit } from "../services/TextStore.js"
import type { SearchHit } from "../services/VectorStore.js"
import {
  compareCodePoints,
  Fusion,
  type JsonObject,
  type Metric,
  type Origin,
  Records,
  refuse
} from "../vector/index.js"

const modes: ReadonlyArray<SearchMode> = ["text", "vector", "hybrid"]

/** Results of each leg that are fused, unless told otherwise. */
const defaultDepth = 50

const isWeight = (weight: number): boolean => Number.isFinite(weight) && weight >= 0

interface Checked {
  readonly request: SearchRequest
  readonly text: string | undefined
  readonly vector: ReadonlyArray<number> | Float32Array | undefined
  readonly limit: number
  readonly depth: number
  readonly weights: { readonly text: number; readonly vector: number }
}

const check = (request: SearchRequest, at: Origin): Either.Either<Checked, InvalidInput> =>
  Either.gen(function* () {
    const { fusion, minSimilarity, text, vector } = request
    const brings = text === undefined ? "vector" : vector === undefined ? "text" : "hybrid"
    const { mode = brings } = request
    if (!modes.includes(mode)) return yield* Either.left(refuse(at, "mode", "is unknown", modes.join(", ")))
    if (mode !== "vector" && text === undefined) {
      return yield* Either.left(refuse(at, "text", "is missing", `a string in mode ${mode}`))
    }
    if (mode !== "text" && vector === undefined) {
      return yield* Either.left(refuse(at, "vector", "is missing", `text, a vector or both; a vector in mode ${mode}`))
    }
    if (minSimilarity !== undefined && !(minSimilarity >= -1 && minSimilarity <= 1)) {
      return yield* Either.left(refuse(at, "minSimilarity", "is not a cosine", "a number from -1 to 1"))
    }
    const weights = weightsOf(fusion)
    if (!isWeight(weights.text) || !isWeight(weights.vector) || weights.text + weights.vector === 0) {
      const allowed = "finite weights of at least 0, not both 0"
      return yield* Either.left(refuse(at, "fusion", "has weights that cannot be used", allowed))
    }
    if (fusion?.strategy === "rrf" && fusion.k !== undefined && !(Number.isFinite(fusion.k) && fusion.k >= 0)) {
      return yield* Either.left(refuse(at, "fusion.k", "is out of range", "a number from 0"))
    }
    const limit = yield* Records.checkLimit(request.limit ?? 10, "limit", at)
    const depth = yield* Records.checkLimit(request.preFusionLimit ?? defaultDepth, "preFusionLimit", at)
    return {
      request,
      text: mode === "vector" ? undefined : text,
      vector: mode === "text" ? undefined : vector,
      limit,
      depth: mode === "hybrid" ? Math.max(limit, depth) : limit,
      weights
    }
  })

const weightsOf = (fusion: FusionOptions = { strategy: "rrf" }) => {
  const defaults = fusion.strategy === "rrf" ? { text: 1, vector: 1 } : Fusion.defaultWeights
  return { text: fusion.textWeight ?? defaults.text, vector: fusion.vectorWeight ?? defaults.vector }
}

/** Names a record across collections so that keys sort by id, then by collection: no id holds a U+0000. */
const keyOf = (collection: string, id: string): string => `${id}\u0000${collection}`

interface Found<Hit> {
  readonly key: string
  readonly collection: string
  readonly score: number
  readonly hit: Hit
}

/** The hits of all collections as one leg. */
const legOf = <Hit extends { readonly id: string }>(
  found: ReadonlyArray<{ readonly collection: string; readonly hits: ReadonlyArray<Hit> }>,
  scoreOf: (hit: Hit) => number,
  depth: number
): ReadonlyArray<Found<Hit>> =>
  found
    .flatMap(({ collection, hits }) =>
      hits.map((hit) => ({ key: keyOf(collection, hit.id), collection, score: scoreOf(hit), hit }))
    )
    .sort((a, b) => b.score - a.score || compareCodePoints(a.key, b.key))
    .slice(0, depth)

const fuse = (
  { request: { fusion = { strategy: "rrf" } }, weights }: Checked,
  text: ReadonlyArray<Found<TextHit>>,
  vector: ReadonlyArray<Found<SearchHit>>
): ReadonlyArray<Fusion.Fused> => {
  const ranked = (found: ReadonlyArray<Found<unknown>>) => found.map(({ key, score }) => ({ id: key, score }))
  const legs = [
    { ranked: ranked(text), weight: weights.text },
    { ranked: ranked(vector), weight: weights.vector }
  ]
  return fusion.strategy === "rrf" ? Fusion.reciprocalRank(legs, fusion.k) : Fusion.weighted(legs, fusion.normalization)
}

const isRequests = (error: DbError): boolean => error._tag === "InvalidInput" || error._tag === "DimensionMismatch"

const noneThere = <A>(effect: Effect.Effect<A, DbError>, instead: A): Effect.Effect<A, DbError> =>
  Effect.catchTag(effect, "NotFound", () => Effect.succeed(instead))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "transaction" | "text" | "vector">
): Context.Tag.Service<Search> => {
  const { text: texts, vector: vectors } = backend

  const operation = <A>(name: string, body: (at: Origin) => Effect.Effect<A, DbError>): Effect.Effect<A, DbError> =>
    Effect.suspend(() => body({ operation: `Search.${name}`, backend: backend.name }))

  /** Without the counts that listing the collections would cost. */
  const metricOf = (collection: string, at: Origin): Effect.Effect<Metric, DbError> =>
    Effect.flatMap(backend.query("SELECT metric FROM db_hub_collections WHERE name = ?", [collection]), ([row]) =>
      row === undefined
        ? Effect.fail(new NotFound({ ...at, entity: "collection", message: "The collection has no vectors" }))
        : Effect.succeed(row["metric"] as Metric)
    )

  const searchTexts = ({ depth, request: { filter, syntax }, text }: Checked, collection: string) =>
    Effect.map(
      texts.search(collection, text ?? "", {
        limit: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(syntax === undefined ? {} : { syntax })
      }),
      (hits) => ({ collection, hits })
    )

  const searchVectors = ({ depth, request, vector }: Checked, collection: string, at: Origin) =>
    Effect.gen(function* () {
      const { filter, minSimilarity } = request
      const metric = yield* metricOf(collection, at)
      if (minSimilarity !== undefined && metric !== "cosine") {
        return yield* refuse(at, "minSimilarity", `cannot be measured by ${metric}`, "only where the metric is cosine")
      }
      const hits = yield* vectors.search(collection, vector ?? [], {
        k: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(minSimilarity === undefined ? {} : { minScore: minSimilarity })
      })
      return { collection, hits, metric }
    })

  /** What the collections answer, side by side; a failure is kept for the report unless the request is at fault. */
  const legsOf = <A>(
    leg: FailedLeg["leg"],
    collections: ReadonlyArray<string>,
    search: (collection: string) => Effect.Effect<A, DbError>
  ): Effect.Effect<readonly [failed: ReadonlyArray<FailedLeg>, found: ReadonlyArray<A>], DbError> =>
    Effect.map(
      Effect.forEach(
        collections,
        (collection) =>
          Effect.matchEffect(search(collection), {
            onFailure: (error) =>
              isRequests(error)
                ? Effect.fail(error)
                : Effect.succeed(Either.left<FailedLeg>({ collection, leg, error })),
            onSuccess: (found) => Effect.succeed(Either.right(found))
          }),
        { concurrency: "unbounded" }
      ),
      Arr.separate
    )

  /** A vector leg brings no texts of its own. */
  const withTexts = (results: ReadonlyArray<SearchResult>): Effect.Effect<ReadonlyArray<SearchResult>, DbError> =>
    Effect.gen(function* () {
      const missing = new Map<string, Array<string>>()
      for (const { collection, id, text } of results) {
        if (text === null) missing.set(collection, [...(missing.get(collection) ?? []), id])
      }
      if (missing.size === 0) return results
      const found = new Map<string, string>()
      for (const [collection, ids] of missing) {
        for (const { id, text } of yield* noneThere(texts.get(collection, ids), [])) {
          found.set(keyOf(collection, id), text)
        }
      }
      return results.map((result) => ({
        ...result,
        text: result.text ?? found.get(keyOf(result.collection, result.id)) ?? null
      }))
    })

  const search = (collections: ReadonlyArray<string>, checked: Checked, at: Origin) =>
    Effect.gen(function* () {
      const inTexts = (name: string) => searchTexts(checked, name)
      const inVectors = (name: string) => searchVectors(checked, name, at)
      const [[failedTexts, foundTexts], [failedVectors, foundVectors]] = yield* Effect.all(
        [
          legsOf("text", checked.text === undefined ? [] : collections, inTexts),
          legsOf("vector", checked.vector === undefined ? [] : collections, inVectors)
        ],
        { concurrency: "unbounded" }
      )
      const failed = [...failedTexts, ...failedVectors]
      const [first] = failed
      if (first !== undefined && foundTexts.length + foundVectors.length === 0) return yield* Effect.fail(first.error)

      const metrics = new Map(foundVectors.map(({ collection, metric }) => [collection, metric]))
      if (new Set(metrics.values()).size > 1) {
        return yield* refuse(at, "collections", "have different metrics", "collections of one metric")
      }
      const textLeg = legOf(foundTexts, ({ bm25 }) => bm25, checked.depth)
      const vectorLeg = legOf(foundVectors, ({ score }) => score, checked.depth)
      const byText = new Map(textLeg.map((found, i) => [found.key, { ...found, rank: i + 1 }]))
      const byVector = new Map(vectorLeg.map((found, i) => [found.key, { ...found, rank: i + 1 }]))
      const strategy = checked.request.fusion?.strategy ?? "rrf"

      const resultOf = (key: string, fused: number | undefined): SearchResult => {
        const [inTexts, inVectors] = [byText.get(key), byVector.get(key)]
        const { collection, hit } = (inTexts ?? inVectors)!
        const metric = metrics.get(collection)
        return {
          collection,
          id: hit.id,
          score: fused ?? (inTexts ?? inVectors)!.score,
          scoreKind: fused !== undefined ? strategy : inTexts !== undefined ? "bm25" : metric!,
          ...(inTexts === undefined ? {} : { textRank: inTexts.rank, bm25: inTexts.score }),
          ...(inVectors === undefined ? {} : { vectorRank: inVectors.rank }),
          ...(inVectors === undefined || metric !== "cosine" ? {} : { cosine: inVectors.score }),
          text: hit.text,
          metadata: hit.metadata as JsonObject,
          highlights: inTexts?.hit.highlights ?? []
        }
      }

      const hybrid = checked.text !== undefined && checked.vector !== undefined
      const results = hybrid
        ? fuse(checked, textLeg, vectorLeg)
            .slice(0, checked.limit)
            .map(({ id, score }) => resultOf(id, score))
        : [...textLeg, ...vectorLeg].map(({ key }) => resultOf(key, undefined))
      return { results: yield* withTexts(results), failed } satisfies SearchAnswer
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
          return yield* search(names, yield* check(request, at), at)
        })
      )
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const SearchLive: Layer.Layer<Search, never, Backend> = Layer.effect(Search, Effect.map(Backend, make))
