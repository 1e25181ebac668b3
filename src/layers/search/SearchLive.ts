/**
 * `Search` over the text and the vector collection of one name.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type DbError, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import {
  type EmbedOptions,
  Search,
  type SearchCollectionInfo,
  type SearchCollectionOptions,
  type SearchRequest,
  type SearchResult
} from "../../services/Search.js"
import { compareCodePoints, Records, type TextAnalysis } from "../../vector/index.js"
import * as HybridSearch from "./HybridSearch.js"
import * as SearchEmbedding from "./SearchEmbedding.js"
import { settingsOf, type VectorSettings } from "./VectorSettings.js"

const { isOwn, ownPrefix } = Records
const { onConflict } = SearchEmbedding

/** What the stores keep is theirs to write. */
const checkWritable = (name: string, at: ErrorContext): Effect.Effect<string, InvalidInput> =>
  Effect.filterOrFail(
    Records.checkName(name, at),
    (name) => !isOwn(name),
    () => invalidInput(at, "collection", "is kept for the hub's own", `one that does not begin with ${ownPrefix}`)
  )

const isEmbeddings = (given: EmbeddingsShape | undefined): boolean =>
  given === undefined || (typeof given === "object" && given !== null && typeof given.embedMany === "function")

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "text" | "vector" | "dialect">,
  embeddings?: EmbeddingsShape
): Context.Tag.Service<Search> => {
  const { text: texts } = backend
  const hybrid = HybridSearch.make(backend)
  const embedding = SearchEmbedding.make(backend, embeddings)

  const operation = <A>(
    name: string,
    body: (at: ErrorContext) => Effect.Effect<A, DbError>
  ): Effect.Effect<A, DbError> => Effect.suspend(() => body({ operation: `Search.${name}`, backend: backend.name }))

  /** A vector leg brings no texts of its own. */
  const withTexts = (results: ReadonlyArray<SearchResult>): Effect.Effect<ReadonlyArray<SearchResult>, DbError> =>
    Effect.gen(function* () {
      const missing = new Set(results.flatMap(({ collection, text }) => (text === null ? [collection] : [])))
      const found = new Map<string, ReadonlyMap<string, string>>()
      for (const collection of missing) {
        const ids = results.flatMap((each) => (each.collection === collection && each.text === null ? [each.id] : []))
        const stored = yield* Effect.catchTag(texts.get(collection, ids), "NotFound", () => Effect.succeed([]))
        found.set(collection, new Map(stored.map(({ id, text }) => [id, text])))
      }
      return results.map((result) => ({
        ...result,
        text: result.text ?? found.get(result.collection)?.get(result.id) ?? null
      }))
    })

  /** The store tells what the matter is in words of its own. */
  const inWordsOfStore = <A>(effect: Effect.Effect<A, DbError>): Effect.Effect<A, DbError> =>
    Effect.tapError(effect, () => texts.collections)

  const progressOf = <O extends EmbedOptions>(options: O, fields: ReadonlyArray<string>, at: ErrorContext) =>
    Effect.flatMap(Records.checkObject(options, "options", at, fields), (given) => {
      const { onProgress = () => Effect.void } = given
      return typeof onProgress === "function"
        ? Effect.succeed({ ...given, onProgress })
        : Effect.fail(invalidInput(at, "onProgress", "is no function", "a function that makes an effect"))
    })

  /** `NotFound` unless a collection has texts or vectors. */
  const isThere = (collection: string): Effect.Effect<unknown, DbError> =>
    Effect.catchTag(texts.get(collection, []), "NotFound", (unknown) =>
      Effect.flatMap(embedding.settings(collection), (found) =>
        found === undefined ? Effect.fail(unknown) : Effect.void
      )
    )

  /** What the collections with models were made with, where the request needs one to embed its question. */
  const embeddableOf = (
    names: ReadonlyArray<string>,
    { syntax, text, vector, mode = syntax === "advanced" ? "text" : "hybrid" }: SearchRequest
  ): Effect.Effect<ReadonlyMap<string, VectorSettings>, DbError> => {
    const needed = embeddings !== undefined && vector === undefined && typeof text === "string" && text.trim() !== ""
    return needed && mode !== "text"
      ? Effect.map(
          inWordsOfStore(settingsOf(backend, names)),
          (found) => new Map(Array.from(found).filter(([, { model }]) => model !== null))
        )
      : Effect.succeed(new Map())
  }

  const search = (
    names: ReadonlyArray<string>,
    request: SearchRequest,
    at: ErrorContext
  ): Effect.Effect<HybridSearch.HybridAnswer, DbError> =>
    Effect.gen(function* () {
      const embeddable = yield* embeddableOf(
        names,
        yield* Records.checkObject(request, "request", at, HybridSearch.fields)
      )
      const checked = yield* HybridSearch.check(request, at, embeddable.size > 0)
      let embeddingTime: number | undefined
      /** The question, asked of each model once. */
      const questionOf = yield* Effect.cachedFunction((embedder: EmbeddingsShape) =>
        Effect.map(Effect.timed(embedder.embed(request.text ?? "")), ([duration, vector]) => {
          embeddingTime = Math.max(embeddingTime ?? 0, Duration.toMillis(duration))
          return vector
        })
      )
      const sources = names.map((name): HybridSearch.Source => {
        const source = { name, texts: name, vectors: name }
        const known = embeddable.get(name)
        if (known === undefined) return source
        const embeddedBy =
          (settings: VectorSettings): NonNullable<HybridSearch.Source["embedded"]> =>
          (leg) =>
            Effect.gen(function* () {
              const embedder = yield* embedding.questionEmbedder(name, settings, at)
              const found = yield* leg(yield* questionOf(embedder), settings)
              // Moved to another model since: the vectors that were compared are not comparable.
              const now = yield* embedding.settings(name)
              const same = now?.model === embedder.model && now.dimension === embedder.dimension
              return now === undefined || same ? found : yield* embeddedBy(now)(leg)
            })
        return { ...source, embedded: embeddedBy(known) }
      })
      const answer = yield* hybrid(sources, checked, at)
      const results = yield* withTexts(answer.results)
      return {
        ...answer,
        results,
        timings: {
          ...answer.timings,
          ...(embeddingTime === undefined ? {} : { embedding: embeddingTime })
        }
      }
    })

  const createCollection = (
    name: string,
    { dimension: wanted, language, metric, model: of }: SearchCollectionOptions,
    at: ErrorContext
  ): Effect.Effect<void, DbError> => {
    const create = texts.createCollection(name, language === undefined ? {} : { language })
    if (of === true && embeddings === undefined) {
      return Effect.fail(invalidInput(at, "model", "is not at hand", "true only where Embeddings are provided"))
    }
    const model = of === true ? embeddings?.model : of
    if (of === true && wanted !== undefined && wanted !== embeddings?.dimension) {
      const allowed = `${embeddings?.dimension}, or none`
      return Effect.fail(invalidInput(at, "dimension", "is not that of the model at hand", allowed))
    }
    const dimension = wanted ?? (model === embeddings?.model ? embeddings?.dimension : undefined)
    if (dimension === undefined) {
      return model === undefined
        ? create
        : Effect.fail(
            invalidInput(at, "dimension", "is missing", "that of the vectors, for a model that is not at hand")
          )
    }
    const settings = {
      dimension,
      ...(metric === undefined ? {} : { metric }),
      ...(model === undefined ? {} : { model })
    }
    const createBoth = backend.transaction(Effect.zipRight(create, embedding.create(name, settings)), onConflict)
    return of === true ? Effect.zipRight(embedding.checkModel(name, at), createBoth) : createBoth
  }

  const collections: Effect.Effect<ReadonlyArray<SearchCollectionInfo>, DbError> = Effect.gen(function* () {
    const languages = yield* inWordsOfStore(backend.query("SELECT name, language FROM db_hub_text_collections"))
    const byName = new Map(languages.map(({ language, name }) => [String(name), language as TextAnalysis.Language]))
    const settings = yield* settingsOf(backend)
    return Array.from(new Set([...byName.keys(), ...settings.keys()]))
      .filter((name) => !isOwn(name))
      .sort(compareCodePoints)
      .map((name) => {
        const { dimension = null, metric = null, model = null } = settings.get(name) ?? {}
        return { name, language: byName.get(name) ?? null, dimension, metric, model }
      })
  })

  return {
    collections,

    createCollection: (name, options = {}) =>
      operation("createCollection", (at) =>
        Effect.zipRight(
          checkWritable(name, at),
          Effect.flatMap(
            Records.checkObject(options, "options", at, ["language", "dimension", "metric", "model"]),
            (given) => createCollection(name, given, at)
          )
        )
      ),

    index: (collection, given) =>
      operation("index", (at) =>
        Effect.gen(function* () {
          yield* checkWritable(collection, at)
          yield* Records.checkList(given, at)
          const { records, ...report } = yield* embedding.embed(collection, given, at)
          const pending = yield* backend.transaction(embedding.write(collection, records, at), onConflict)
          return { ...report, pending }
        })
      ),

    embed: (collection, records) =>
      operation("embed", (at) =>
        Effect.zipRight(
          Records.checkName(collection, at),
          Effect.flatMap(Records.checkList(records, at), (listed) => embedding.embed(collection, listed, at))
        )
      ),

    embedPending: (collection, options = {}) =>
      operation("embedPending", (at) =>
        Effect.zipRight(
          Records.checkName(collection, at),
          Effect.flatMap(progressOf(options, ["onProgress"], at), ({ onProgress }) =>
            embedding.embedPending(collection, onProgress, at)
          )
        )
      ),

    pending: (collection) =>
      operation("pending", () => Effect.zipRight(isThere(collection), embedding.pending(collection))),

    reembed: (collection, options = {}) =>
      operation("reembed", (at) =>
        Effect.zipRight(
          checkWritable(collection, at),
          Effect.flatMap(progressOf(options, ["embeddings", "onProgress"], at), ({ embeddings, onProgress }) =>
            isEmbeddings(embeddings)
              ? embedding.reembed(collection, embeddings, onProgress, at)
              : Effect.fail(invalidInput(at, "embeddings", "are none", "{ model, dimension, embed, embedMany }"))
          )
        )
      ),

    delete: (collection, ids) =>
      operation("delete", (at) =>
        backend.transaction(
          Effect.gen(function* () {
            yield* checkWritable(collection, at)
            yield* Records.checkIds(ids, at)
            yield* embedding.lock(collection, "forShare")
            const deleted = yield* texts.delete(collection, ids)
            yield* embedding.forget(collection, ids)
            return deleted
          }),
          onConflict
        )
      ),

    dropCollection: (name) =>
      operation("dropCollection", (at) =>
        backend.transaction(
          Effect.gen(function* () {
            yield* checkWritable(name, at)
            yield* embedding.lock(name, "forUpdate")
            yield* texts.dropCollection(name)
            yield* embedding.drop(name)
          })
        )
      ),

    search: (collections, request) =>
      operation("search", (at) =>
        Effect.gen(function* () {
          const listed = typeof collections === "string" ? [collections] : collections
          if (!Array.isArray(listed)) {
            return yield* invalidInput(at, "collections", "are no names", "a name, or a list of names")
          }
          const names = Array.from(new Set<string>(listed))
          for (const name of names) yield* Records.checkName(name, at)
          if (names.length === 0) return yield* invalidInput(at, "collections", "are none", "the name of at least one")
          const [duration, answer] = yield* Effect.timed(search(names, request, at))
          return { ...answer, timings: { ...answer.timings, total: Duration.toMillis(duration) } }
        })
      )
  }
}

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
