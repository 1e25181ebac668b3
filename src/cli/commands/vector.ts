/**
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type DbError, InvalidInput, invalidInput, NotFound } from "../../errors/DbError.js"
import { nearest } from "../../errors/Nearest.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import { StoreEmbedding } from "../../services/StoreEmbedding.js"
import type { CollectionIndex, CollectionInfo, SearchHit, SearchOptions } from "../../services/VectorStore.js"
import * as HashingEmbedder from "../../vector/HashingEmbedder.js"
import * as Records from "../../vector/Records.js"
import { prepared, withBackend, withEmbeddings, withSearch } from "../Backends.js"
import { withProgress } from "../Io.js"
import { type Common, common, describe, filterOf, textOf } from "../Options.js"
import { ExitWith, note, print } from "../Report.js"
import { bar, excerpt, printable, table } from "../Text.js"

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const indexText = ({ kind, progress, recall, state }: CollectionIndex): string => {
  if (state === "none") return "-"
  const built = progress === undefined ? state : `${state} ${percent(progress)}`
  return `${kind}, ${built}${recall === undefined ? "" : `, recall ${percent(recall)}`}`
}

const internal = Options.boolean("internal").pipe(
  Options.withDescription("List those that the hub keeps for itself, too")
)

const collections = Command.make("collections", { internal, ...common }, (options) =>
  Effect.flatMap(
    withBackend(options, "read", (backend) =>
      Effect.map(backend.vector.collections, (all) =>
        all.filter(({ name }) => options.internal || !Records.isOwn(name))
      )
    ),
    (found) =>
      print(
        options.json,
        () => ({
          collections: found.map(({ count, dimension, index, metric, model, name }) => ({
            name,
            dimension,
            metric,
            model,
            count,
            index: index ?? null
          }))
        }),
        (io) =>
          table(
            ["name", "count", "dimension", "metric", "model", "index"],
            found.map(({ count, dimension, index, metric, model, name }) => [
              name,
              count,
              dimension,
              metric,
              model,
              index === undefined ? "-" : indexText(index)
            ]),
            io,
            "-"
          )
      )
  )
).pipe(
  Command.withDescription(
    describe(
      "List the collections: how many vectors, of which dimension, metric and model, and how they are indexed.",
      "db-hub vector collections"
    )
  )
)

const collectionOf = (backend: BackendShape, name: string): Effect.Effect<CollectionInfo, DbError> =>
  Effect.flatMap(backend.vector.collections, (all) => {
    const found = all.find((collection) => collection.name === name)
    return found === undefined ? Effect.fail(unknownCollection(backend, name, all)) : Effect.succeed(found)
  })

const unknownCollection = (backend: BackendShape, name: string, all: ReadonlyArray<CollectionInfo>) => {
  const near = nearest(
    name,
    all.map((collection) => collection.name).filter((name) => !Records.isOwn(name))
  )
  return new NotFound({
    backend: backend.name,
    operation: "cli.vector",
    entity: "collection",
    message: `There is no such collection${near.length === 0 ? "" : `; did you mean ${near.join(", ")}?`}`
  })
}

/** Text in square brackets that is JSON is meant as a vector, whatever it holds. */
const vectorIn = (text: string): Option.Option<unknown> =>
  Option.filter(Option.liftThrowable((json: string): unknown => JSON.parse(json))(text), Array.isArray)

const questionOf = (backend: BackendShape, collection: CollectionInfo, configured: EmbeddingsShape, text: string) =>
  Effect.gen(function* () {
    const given = vectorIn(text)
    // The store checks the components.
    if (Option.isSome(given)) return given.value as ReadonlyArray<number>
    if (collection.model === configured.model && collection.dimension === configured.dimension) {
      return yield* configured.embed(text)
    }
    const dimension = Number(/^hashing-(\d+)$/.exec(collection.model ?? "")?.[1])
    if (dimension === collection.dimension) return (yield* HashingEmbedder.make({ dimension })).embed(text)
    const allowed = `a JSON array of ${collection.dimension} numbers, or --like with the id of a record`
    return yield* new InvalidInput({
      backend: backend.name,
      operation: "cli.vector",
      field: "QUERY",
      allowed,
      message: `The vectors of this collection are ${collection.model === null ? "of no recorded model" : `of the model ${collection.model}`}, and ${configured.model} is configured, which cannot embed text for it; allowed: ${allowed}`
    })
  })

/** What `Search` keeps has its texts in the text collection of the same name. */
const withTexts = ({ text }: BackendShape, { name }: CollectionInfo, hits: ReadonlyArray<SearchHit>) => {
  const ids = hits.flatMap((hit) => (hit.text === null ? [hit.id] : []))
  if (ids.length === 0) return Effect.succeed(hits)
  return text.get(name, ids).pipe(
    Effect.catchTag("NotFound", () => Effect.succeed([])),
    Effect.map((found) => {
      const texts = new Map(found.map(({ id, text }) => [id, text]))
      return hits.map((hit) => ({ ...hit, text: hit.text ?? texts.get(hit.id) ?? null }))
    })
  )
}

/** The neighbours of a record, itself left out. */
const like = (backend: BackendShape, collection: string, id: string, options: SearchOptions & { readonly k: number }) =>
  Effect.gen(function* () {
    const [record] = yield* backend.vector.get(collection, [id])
    if (record === undefined) {
      return yield* new NotFound({
        backend: backend.name,
        operation: "cli.vector",
        entity: "record",
        message: "The collection has no record of the id that --like names"
      })
    }
    const hits = yield* backend.vector.search(collection, record.vector, { ...options, k: options.k + 1 })
    return hits.filter((hit) => hit.id !== id).slice(0, options.k)
  })

const search = Command.make(
  "search",
  {
    collection: Args.text({ name: "COLLECTION" }).pipe(Args.withDescription("The collection to search")),
    query: Args.text({ name: "QUERY" }).pipe(
      Args.withDescription(
        "Text, or a vector as a JSON array of numbers, or - for standard input; after -- it may begin with a dash"
      ),
      Args.optional
    ),
    like: Options.text("like").pipe(
      Options.withPseudoName("ID"),
      Options.withDescription("Search for what is near this record, instead of a QUERY"),
      Options.optional
    ),
    k: Options.integer("k").pipe(
      Options.withPseudoName("N"),
      Options.withDescription("How many results, also written --k (default: 10)"),
      Options.withDefault(10)
    ),
    filter: Options.text("filter").pipe(
      Options.withPseudoName("JSON"),
      Options.withDescription(`Only records whose metadata match, such as '{"lang": "en", "year": {"$gte": 2024}}'`),
      Options.optional
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      if (Option.isSome(options.query) === Option.isSome(options.like)) {
        return yield* invalidInput(
          { operation: "cli.vector" },
          "QUERY",
          "and --like are two ways to say it",
          "exactly one of them"
        )
      }
      if (options.k < 1)
        return yield* invalidInput({ operation: "cli.vector" }, "k", "is no count", "a whole number from 1")
      const filter = yield* Effect.transposeMapOption(options.filter, (text) => filterOf("cli.vector", text))
      const text = yield* Effect.transposeMapOption(options.query, (query) => textOf("QUERY", query))
      const how = { k: options.k, ...(Option.isSome(filter) ? { filter: filter.value } : {}) }
      const hits = yield* withEmbeddings(options, "read", (backend, configured) =>
        Effect.gen(function* () {
          const collection = yield* collectionOf(backend, options.collection)
          if (Option.isSome(options.like)) {
            return yield* withTexts(backend, collection, yield* like(backend, collection.name, options.like.value, how))
          }
          const vector = yield* questionOf(
            backend,
            collection,
            configured,
            Option.getOrElse(text, () => "")
          )
          return yield* withTexts(backend, collection, yield* backend.vector.search(collection.name, vector, how))
        })
      )
      yield* print(
        options.json,
        () => ({
          collection: options.collection,
          count: hits.length,
          hits: hits.map(({ id, metadata, score, text }) => ({ id, score, text, metadata }))
        }),
        (io) => table(["score", "id", "text", "metadata"], hits.map(rowOf), io, "-")
      )
    })
).pipe(
  Command.withDescription(
    describe(
      "Find the records of a collection that are nearest to a text, a vector or another record.",
      'db-hub vector search docs "how are backups verified" --k 3',
      "db-hub vector search docs --like intro.md#2 --json"
    )
  )
)

const rowOf = ({ id, metadata, score, text }: SearchHit) => [
  Number(score.toFixed(4)),
  id,
  text === null ? null : excerpt(text),
  metadata
]

const reembed = Command.make(
  "reembed",
  {
    collection: Args.text({ name: "COLLECTION" }).pipe(Args.withDescription("The collection to move")),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const { failed, ...report } = yield* withSearch(options, "write", (_, search) =>
        withProgress((show) =>
          search.reembed(options.collection, { onProgress: ({ done, total }) => show(bar("reembed", done, total)) })
        )
      )
      const { embedded, moved, pending } = report
      yield* print(
        options.json,
        () => ({ collection: options.collection, ...report, failed: failed?.message ?? null }),
        () =>
          moved
            ? `moved to the configured model: ${embedded} embedded, ${pending} pending`
            : `not moved yet: ${embedded} embedded, ${pending} to go; run this again to go on from there`
      )
      if (failed !== undefined) yield* note(printable(failed.message))
      if (!moved) return yield* new ExitWith({ code: 1 })
    })
).pipe(
  Command.withDescription(
    describe(
      "Move a collection of texts to the configured embedding model. The old vectors answer until all are made; run it " +
        "again after a failure, and it goes on from there.",
      "db-hub vector reembed documents"
    )
  )
)

/** What the stores keep of a backend, with the configured model. */
const withStoreEmbedding = <A, E, R>(options: Common, use: Effect.Effect<A, E, R | StoreEmbedding>) =>
  withEmbeddings(options, "write", (backend, embeddings) =>
    Effect.gen(function* () {
      yield* prepared("cli.vector", backend, "write")
      const [Embedding, Conversations, Memories, Workspace, LocalWrites] = yield* Effect.promise(() =>
        Promise.all([
          import("../../layers/stores/StoreEmbedding.js"),
          import("../../layers/stores/ConversationStore.js"),
          import("../../layers/stores/MemoryStore.js"),
          import("../../layers/stores/WorkspaceStore.js"),
          import("../../layers/write/LocalWrites.js")
        ])
      )
      const layer = Embedding.layer.pipe(
        Layer.provide(Layer.mergeAll(Conversations.layer, Memories.layer, Workspace.layer)),
        Layer.provide(LocalWrites.layer),
        Layer.provide(Layer.merge(Layer.succeed(Backend, backend), Layer.succeed(Embeddings, embeddings)))
      )
      return yield* Effect.provide(use, layer)
    })
  )

const embed = Command.make(
  "embed",
  {
    user: Options.text("user").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("Only what is this user's (default: everybody's)"),
      Options.optional
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const user = Option.isSome(options.user) ? { user: options.user.value } : {}
      const { embedded, failed, pending, refused } = yield* withStoreEmbedding(
        options,
        Effect.flatMap(StoreEmbedding, (stores) =>
          withProgress((show) =>
            stores.embedPending({ ...user, onProgress: ({ done, total }) => show(bar("embed", done, total)) })
          )
        )
      )
      yield* print(
        options.json,
        () => ({ embedded, refused, pending, failed: failed?.message ?? null }),
        () => `${embedded} embedded, ${pending} pending${refused === 0 ? "" : `, ${refused} of them refused`}`
      )
      if (failed === undefined) return
      yield* note(printable(failed.message))
      return yield* new ExitWith({ code: 1 })
    })
).pipe(
  Command.withDescription(
    describe(
      "Give the memories, messages and chunks of documents that lack a vector of the configured model one. Run it again " +
        "after a failure, and it goes on from there. Exits with 1 if the model failed or refused some.",
      "db-hub vector embed",
      "db-hub vector embed --user ada --json"
    )
  )
)

/**
 * @since 0.1.0
 * @category commands
 */
export const vector = Command.make("vector").pipe(
  Command.withDescription("Look into the vector collections, and make what they lack"),
  Command.withSubcommands([collections, search, embed, reembed])
)
