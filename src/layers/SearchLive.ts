/**
 * `Search` over the text and the vector collection of one name.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type DbError, type InvalidInput, NotFound } from "../errors/index.js"
import { Backend, type BackendShape } from "../services/Backend.js"
import { Embeddings, type EmbeddingsShape } from "../services/Embeddings.js"
import {
  type FailedLeg,
  type FusionOptions,
  Search,
  type SearchAnswer,
  type SearchCollectionOptions,
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
import * as SearchEmbedding from "./SearchEmbedding.js"

const modes: ReadonlyArray<SearchMode> = ["text", "vector", "hybrid"]

/** Transactions that lose to another one are run again so often. */
const retryConflicts = 5

/** Results of each leg that are fused, unless told otherwise. */
const defaultDepth = 50

const isWeight = (weight: number): boolean => Number.isFinite(weight) && weight >= 0

interface Checked {
  readonly request: SearchRequest
  readonly mode: SearchMode
  readonly limit: number
  readonly depth: number
  readonly weights: { readonly text: number; readonly vector: number }
}

const check = (request: SearchRequest, canEmbed: boolean, at: Origin): Either.Either<Checked, InvalidInput> =>
  Either.gen(function* () {
    const { fusion, minSimilarity, text, vector } = request
    const brings = text === undefined ? "vector" : vector === undefined && !canEmbed ? "text" : "hybrid"
    const { mode = brings } = request
    if (!modes.includes(mode)) return yield* Either.left(refuse(at, "mode", "is unknown", modes.join(", ")))
    if (mode !== "vector" && text === undefined) {
      return yield* Either.left(refuse(at, "text", "is missing", `a string in mode ${mode}`))
    }
    if (mode !== "text" && vector === undefined && !canEmbed) {
      const allowed = `text, a vector or both; a vector in mode ${mode}, or a collection whose embedding model is at hand`
      return yield* Either.left(refuse(at, "vector", "is missing", allowed))
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
      mode,
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

/** Whether the request is at fault for the failure of a leg; a vector that it does not bring cannot be. */
const isRequests = ({ vector }: SearchRequest, error: DbError): boolean =>
  error._tag === "InvalidInput" || (error._tag === "DimensionMismatch" && vector !== undefined)

const millis = (duration: Duration.Duration): number => Duration.toMillis(duration)

const noneThere = <A>(effect: Effect.Effect<A, DbError>, instead: A): Effect.Effect<A, DbError> =>
  Effect.catchTag(effect, "NotFound", () => Effect.succeed(instead))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "text" | "vector" | "dialect">,
  embeddings?: EmbeddingsShape
): Context.Tag.Service<Search> => {
  const { text: texts, vector: vectors } = backend
  const embedding = SearchEmbedding.make(backend, embeddings)

  const operation = <A>(name: string, body: (at: Origin) => Effect.Effect<A, DbError>): Effect.Effect<A, DbError> =>
    Effect.suspend(() => body({ operation: `Search.${name}`, backend: backend.name }))

  const searchTexts = ({ depth, request: { filter, syntax, text = "" } }: Checked, collection: string) =>
    Effect.map(
      texts.search(collection, text, {
        limit: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(syntax === undefined ? {} : { syntax })
      }),
      (hits) => ({ collection, hits })
    )

  /** Made by the collection's model, unless the request brings it. */
  const vectorFor = (
    { text = "", vector }: SearchRequest,
    collection: string,
    { dimension, model }: SearchEmbedding.VectorSettings,
    at: Origin
  ): Effect.Effect<ReadonlyArray<number> | Float32Array, DbError> => {
    if (vector !== undefined) return Effect.succeed(vector)
    if (model === null) return Effect.fail(withoutVectors(at, "The vectors of the collection are of no recorded model"))
    return Effect.flatMap(embedding.embedderOf(collection, { dimension, model }, at), ({ embed }) => embed(text))
  }

  const searchVectors = (
    checked: Checked,
    collection: string,
    at: Origin
  ): Effect.Effect<
    { collection: string; hits: ReadonlyArray<SearchHit>; metric: Metric; embedding: number },
    DbError
  > =>
    Effect.gen(function* () {
      const { depth, request } = checked
      const { filter, minSimilarity } = request
      const settings = yield* embedding.settings(collection)
      if (settings === undefined) return yield* withoutVectors(at, "The collection has no vectors")
      const { metric, model } = settings
      if (minSimilarity !== undefined && metric !== "cosine") {
        return yield* refuse(at, "minSimilarity", `cannot be measured by ${metric}`, "only where the metric is cosine")
      }
      const [duration, vector] = yield* Effect.timed(vectorFor(request, collection, settings, at))
      const hits = yield* vectors.search(collection, vector, {
        k: depth,
        ...(filter === undefined ? {} : { filter }),
        ...(minSimilarity === undefined ? {} : { minScore: minSimilarity })
      })
      // Moved to another model since: the vectors that were compared are not comparable.
      const moved = request.vector === undefined && (yield* embedding.settings(collection))?.model !== model
      return moved
        ? yield* searchVectors(checked, collection, at)
        : { collection, hits, metric, embedding: millis(duration) }
    })

  /** What the collections answer, side by side; a failure is kept for the report unless the request is at fault. */
  const legsOf = <A>(
    leg: FailedLeg["leg"],
    { request }: Checked,
    collections: ReadonlyArray<string>,
    search: (collection: string) => Effect.Effect<A, DbError>
  ) =>
    Effect.map(
      Effect.forEach(
        collections,
        (collection) =>
          Effect.matchEffect(search(collection), {
            onFailure: (error) =>
              isRequests(request, error)
                ? Effect.fail(error)
                : Effect.succeed(Either.left<FailedLeg>({ collection, leg, error })),
            onSuccess: (found) => Effect.succeed(Either.right(found))
          }),
        { concurrency: "unbounded" }
      ),
      Arr.separate
    ).pipe(Effect.timed)

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

  const search = (
    collections: ReadonlyArray<string>,
    embeddable: ReadonlyArray<string>,
    checked: Checked,
    at: Origin
  ) =>
    Effect.gen(function* () {
      const { mode, request } = checked
      const inTexts = (name: string) => searchTexts(checked, name)
      const inVectors = (name: string) => searchVectors(checked, name, at)
      const ofVectors = request.vector === undefined ? embeddable : collections
      const [[textTime, [failedTexts, foundTexts]], [vectorTime, [failedVectors, foundVectors]]] = yield* Effect.all(
        [
          legsOf("text", checked, mode === "vector" ? [] : collections, inTexts),
          legsOf("vector", checked, mode === "text" ? [] : ofVectors, inVectors)
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
      const strategy = request.fusion?.strategy ?? "rrf"

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

      const results =
        mode === "hybrid"
          ? fuse(checked, textLeg, vectorLeg)
              .slice(0, checked.limit)
              .map(({ id, score }) => resultOf(id, score))
          : [...textLeg, ...vectorLeg].map(({ key }) => resultOf(key, undefined))
      return {
        results: yield* withTexts(results),
        failed,
        mode,
        timings: {
          ...(mode === "vector" ? {} : { text: millis(textTime) }),
          ...(mode === "text" ? {} : { vector: millis(vectorTime) }),
          ...(mode === "text" || request.vector !== undefined
            ? {}
            : { embedding: Math.max(0, ...foundVectors.map(({ embedding }) => embedding)) })
        }
      }
    })

  /** The collections whose model can embed a question, where the request needs that. */
  const embeddableOf = (names: ReadonlyArray<string>, { mode, text, vector }: SearchRequest) => {
    const needed = embeddings !== undefined && vector === undefined && typeof text === "string" && text.trim() !== ""
    if (!needed || mode === "text") return Effect.succeed([])
    return Effect.matchEffect(embedding.settingsOf(names), {
      onSuccess: (found) => Effect.succeed(names.filter((name) => (found.get(name)?.model ?? null) !== null)),
      // The store tells what the matter is in words of its own.
      onFailure: (error) => Effect.zipRight(vectors.get(names[0] ?? "", []), Effect.fail(error))
    })
  }

  const createCollection = (
    name: string,
    options: SearchCollectionOptions,
    at: Origin
  ): Effect.Effect<void, DbError> => {
    const { language, metric } = options
    const create = texts.createCollection(name, language === undefined ? {} : { language })
    if (options.model === true && embeddings === undefined) {
      return Effect.fail(refuse(at, "model", "is not at hand", "true only where Embeddings are provided"))
    }
    const model = options.model === true ? embeddings?.model : options.model
    const dimension = options.dimension ?? (model === embeddings?.model ? embeddings?.dimension : undefined)
    if (dimension === undefined) {
      return model === undefined
        ? create
        : Effect.fail(refuse(at, "dimension", "is missing", "that of the vectors, for a model that is not at hand"))
    }
    const settings = {
      dimension,
      ...(metric === undefined ? {} : { metric }),
      ...(model === undefined ? {} : { model })
    }
    return backend.transaction(Effect.zipRight(create, vectors.createCollection(name, settings)))
  }

  const checkList = (records: unknown, at: Origin): Effect.Effect<void, InvalidInput> =>
    Array.isArray(records) ? Effect.void : Effect.fail(refuse(at, "records", "is not a list", "a list of records"))

  return {
    createCollection: (name, options = {}) =>
      operation("createCollection", (at) => createCollection(name, options, at)),

    index: (collection, given) =>
      operation("index", (at) =>
        Effect.gen(function* () {
          yield* checkList(given, at)
          const { records, ...report } = yield* embedding.embed(collection, given, at)
          const pending = yield* backend.transaction(embedding.write(collection, records, at), { retryConflicts })
          return { ...report, pending }
        })
      ),

    embed: (collection, records) =>
      operation("embed", (at) => Effect.zipRight(checkList(records, at), embedding.embed(collection, records, at))),

    embedPending: (collection, { onProgress = () => Effect.void } = {}) =>
      operation("embedPending", (at) => embedding.embedPending(collection, onProgress, at)),

    reembed: (collection, { embeddings, onProgress = () => Effect.void } = {}) =>
      operation("reembed", (at) => embedding.reembed(collection, embeddings, onProgress, at)),

    delete: (collection, ids) =>
      operation("delete", () =>
        backend.transaction(
          Effect.gen(function* () {
            yield* embedding.lock(collection, "forShare")
            const deleted = yield* texts.delete(collection, ids)
            yield* embedding.forget(collection, ids)
            return deleted
          }),
          { retryConflicts }
        )
      ),

    dropCollection: (name) =>
      operation("dropCollection", () =>
        backend.transaction(
          Effect.gen(function* () {
            yield* embedding.lock(name, "forUpdate")
            yield* texts.dropCollection(name)
            yield* embedding.drop(name)
          })
        )
      ),

    search: (collections, request) =>
      operation("search", (at) =>
        Effect.gen(function* () {
          const names = Array.from(new Set(typeof collections === "string" ? [collections] : collections))
          if (names.length === 0) return yield* refuse(at, "collections", "are none", "the name of at least one")
          const embeddable = yield* embeddableOf(names, request)
          const checked = yield* check(request, embeddable.length > 0, at)
          const [duration, answer] = yield* Effect.timed(search(names, embeddable, checked, at))
          return { ...answer, timings: { ...answer.timings, total: millis(duration) } } satisfies SearchAnswer
        })
      )
  }
}

const withoutVectors = (at: Origin, message: string): NotFound => new NotFound({ ...at, entity: "collection", message })

/**
 * Embeds records and questions where `Embeddings` are provided, in collections of their model.
 *
 * @since 0.1.0
 * @category layers
 */
export const SearchLive: Layer.Layer<Search, never, Backend> = Layer.effect(
  Search,
  Effect.gen(function* () {
    const embeddings = yield* Effect.serviceOption(Embeddings)
    return make(yield* Backend, Option.getOrUndefined(embeddings))
  })
)
