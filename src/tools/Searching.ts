/**
 * What is found by words and by meaning, and what is kept to be found: collections and memories.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { type DbError, type ErrorContext, invalidInput, NotFound } from "../errors/index.js"
import { didYouMean } from "../errors/Nearest.js"
import * as EmbeddingPass from "../layers/search/EmbeddingPass.js"
import * as SearchLive from "../layers/search/SearchLive.js"
import * as StorePass from "../layers/stores/StorePass.js"
import { cut, defaultLimits } from "../services/AgentRows.js"
import type { BackendShape } from "../services/Backend.js"
import type { EmbeddingsShape } from "../services/Embeddings.js"
import type { FoundMemory, MemoryStore, SearchMemoriesRequest } from "../services/MemoryStore.js"
import type { Ranks, SearchCollectionInfo, SearchResult } from "../services/Search.js"
import type { FilterInput } from "../vector/index.js"
import type { Arguments } from "./Declarations.js"

/**
 * Where memories are kept, and whose they are.
 *
 * @since 0.1.0
 * @category models
 */
export interface Memories {
  readonly store: typeof MemoryStore.Service
  readonly user: string
}

/** The name under which memories are searched; it hides a collection of this name. */
const memoriesName = "memories"

type Request = Omit<Arguments<"db_hub_search">, "backend">

/**
 * @since 0.1.0
 * @category models
 */
export interface Sources {
  readonly embeddings: EmbeddingsShape | undefined
  readonly memories: Memories | undefined
}

/** Names of collections in a message at most. */
const maxNames = 20

const textOf = (text: string | null) => {
  const short = text === null ? undefined : cut(text, defaultLimits.maxCell)
  return short === undefined ? { text } : { text: short, truncated: true }
}

const short = (score: number) => Number(score.toPrecision(6))

interface Answer {
  readonly results: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly failed: ReadonlyArray<{ readonly collection: string; readonly leg?: string; readonly error: DbError }>
}

const nothing: Answer = { results: [], failed: [] }

const recordOf = ({ collection, id, metadata, score, text }: SearchResult) => ({
  in: collection,
  id,
  score: short(score),
  ...textOf(text),
  ...(Object.keys(metadata).length === 0 ? {} : { metadata })
})

const memoryOf = ({ memory, score }: FoundMemory & Ranks) => ({
  in: memoriesName,
  id: memory.id,
  score: short(score),
  ...textOf(memory.content),
  kind: memory.kind,
  ...(memory.tags.length === 0 ? {} : { tags: memory.tags })
})

/** What was found in collections and in memories, in turn: their scores cannot be compared. */
const inTurn = <A>(one: ReadonlyArray<A>, other: ReadonlyArray<A>, limit: number): ReadonlyArray<A> =>
  Array.from({ length: Math.max(one.length, other.length) }, (_, i) => [
    ...one.slice(i, i + 1),
    ...other.slice(i, i + 1)
  ])
    .flat()
    .slice(0, limit)

/** The wrong request, which another source of results does not make right. */
const isRequests = (error: DbError): boolean => error._tag === "InvalidInput" || error._tag === "DimensionMismatch"

/**
 * Searches collections as if they were one, and memories. Text alone is embedded where the collections' model is at
 * hand: then the search is hybrid.
 *
 * @since 0.1.0
 * @category actions
 */
export const search = (backend: BackendShape, request: Request, { embeddings, memories }: Sources) =>
  Effect.gen(function* () {
    const at: ErrorContext = { operation: "db_hub_search", backend: backend.name }
    const { filter, limit = 10, mode, query, vector } = request
    if (query === undefined && vector === undefined) {
      return yield* invalidInput(at, "query", "is missing", "query, vector or both")
    }
    /** One question for all, memories too: it is embedded once. */
    const model = embeddings && { ...embeddings, embed: yield* Effect.cachedFunction(embeddings.embed) }
    const collections = SearchLive.make(backend, model)
    const there = (yield* collections.collections).filter(({ name }) => memories === undefined || name !== memoriesName)
    const asked = request.in === undefined || request.in.length === 0 ? undefined : request.in
    const known = new Set(there.map(({ name }) => name))
    const unknown = asked?.find((name) => !known.has(name) && !(name === memoriesName && memories !== undefined))
    if (unknown !== undefined) return yield* unknownCollection(unknown, [...known], at)
    const ofMemories = asked === undefined || asked.includes(memoriesName) ? memories : undefined
    if (ofMemories !== undefined && filter !== undefined && asked !== undefined) {
      return yield* invalidInput(at, "filter", "is on the metadata of collections", "no filter, or not in memories")
    }

    /** Whether a search that asks for nothing particular finds something in a collection. */
    const canFind = ({ dimension, language, model: own }: SearchCollectionInfo): boolean =>
      (query !== undefined && language !== null && mode !== "vector") ||
      (mode !== "text" && (vector === undefined ? own !== null && own === model?.model : dimension === vector.length))
    const usable = there.filter(canFind)
    const inMemories =
      asked !== undefined || (filter === undefined && (query !== undefined || model !== undefined))
        ? ofMemories
        : undefined
    const names =
      asked?.filter((name) => known.has(name)) ??
      (usable.length > 0 || inMemories !== undefined ? usable : there).map(({ name }) => name)

    const how = { limit, ...(query === undefined ? {} : { text: query }), ...(mode === undefined ? {} : { mode }) }
    const inCollections = Effect.map(
      collections.search(names, {
        ...how,
        ...(vector === undefined ? {} : { vector }),
        ...(filter === undefined ? {} : { filter: filter as FilterInput })
      }),
      ({ failed, results }): Answer => ({
        results: results.map(recordOf),
        // Where all are searched, one that has no texts, or no vectors, has not failed.
        failed: failed.filter(({ error }) => asked !== undefined || error._tag !== "NotFound")
      })
    )
    const parts = [
      ...(names.length === 0 ? [] : [{ names, find: inCollections }]),
      ...(inMemories === undefined ? [] : [{ names: [memoriesName], find: remembered(inMemories, model, how, vector) }])
    ]
    const answers = yield* Effect.forEach(parts, ({ find }) => Effect.either(find), { concurrency: "unbounded" })
    const errors = answers.flatMap((answer) => (Either.isLeft(answer) ? [answer.left] : []))
    const fatal = errors.find(isRequests) ?? (errors.length === answers.length ? errors[0] : undefined)
    if (fatal !== undefined) return yield* Effect.fail(fatal)
    const found = answers.map((answer, i) =>
      Either.getOrElse(
        answer,
        (error): Answer => ({ results: [], failed: parts[i]!.names.map((collection) => ({ collection, error })) })
      )
    )
    const [first = nothing, second = nothing] = found
    const failed = found.flatMap(({ failed }) => failed)
    return {
      results: inTurn(first.results, second.results, limit),
      ...(failed.length === 0
        ? {}
        : { failed: failed.map(({ error, ...rest }) => ({ ...rest, error: error.message })) })
    }
  })

const unknownCollection = (name: string, there: ReadonlyArray<string>, at: ErrorContext): NotFound => {
  const some = there.slice(0, maxNames).join(", ") + (there.length > maxNames ? " …" : "")
  return new NotFound({
    ...at,
    entity: "collection",
    message: `There is no such collection; ${didYouMean(name, there, `there are ${some || "none"}`)}`
  })
}

/** What a user's memories say to a question. Where its embedding fails, they are found by their words. */
const remembered = (
  { store, user }: Memories,
  model: EmbeddingsShape | undefined,
  how: Omit<SearchMemoriesRequest, "embedding">,
  vector: ReadonlyArray<number> | undefined
): Effect.Effect<Answer, DbError> =>
  Effect.gen(function* () {
    const { mode, text = "" } = how
    const needed = model !== undefined && mode !== "text" && vector === undefined && text.trim() !== ""
    const made: Either.Either<ReadonlyArray<number> | undefined, DbError> = needed
      ? yield* Effect.either(Effect.map(model.embed(text), (made) => Array.from(made)))
      : Either.right(vector)
    if (Either.isLeft(made) && (mode === "vector" || !EmbeddingPass.isEmbeddingError(made.left))) {
      return yield* Effect.fail(made.left)
    }
    const meaning = Either.getOrUndefined(made)
    const answer = yield* store.search(user, {
      ...how,
      ...(Either.isLeft(made) ? { mode: "text" as const } : {}),
      ...(meaning === undefined || model === undefined ? {} : { embedding: { model: model.model, vector: meaning } })
    })
    const failed = [
      ...answer.failed.map(({ error, leg }) => ({ collection: memoriesName, leg, error })),
      ...(Either.isLeft(made) ? [{ collection: memoriesName, leg: "vector", error: made.left }] : [])
    ]
    return { results: answer.results.map(memoryOf), failed }
  })

const tell = ({ message }: DbError) => Effect.logWarning(`Memories wait for their vectors: ${message}`)

/**
 * Keeps memories, with their vectors where there is a model. Where it fails, a memory is kept without one, found by its
 * words, and given it when the model answers again at a later memory.
 *
 * @since 0.1.0
 * @category actions
 */
export const remembering = (
  backend: Pick<BackendShape, "query">,
  { store, user }: Memories,
  embeddings: EmbeddingsShape | undefined
) => {
  if (embeddings === undefined) return (memory: Arguments<"db_hub_remember">) => store.store({ user, ...memory })
  const { model } = embeddings
  const { pass } = StorePass.make(backend, [StorePass.memories(store)], embeddings)
  /** Whether some may wait for their vectors: from before this process, or since a failure in it. */
  let waiting = true
  let refused: EmbeddingPass.Refused = new Map()
  /** Few beside each new one, so that it is not long in coming. */
  const makeUp = Effect.gen(function* () {
    const { embedded, failed, refused: found, stopped } = yield* pass({ user, batches: 1 }, refused)
    // Of what is gone or was changed, nothing is kept.
    refused = stopped ? new Map([...refused, ...found]) : found
    if (failed !== undefined) yield* tell(failed)
    return embedded > 0 || stopped
  }).pipe(
    // The new one is kept; the others still wait.
    Effect.catchAll((error) => Effect.as(tell(error), true))
  )
  return (memory: Arguments<"db_hub_remember">) =>
    Effect.gen(function* () {
      const made = yield* Effect.either(embeddings.embed(memory.content))
      if (Either.isLeft(made)) {
        if (!EmbeddingPass.isEmbeddingError(made.left)) return yield* Effect.fail(made.left)
        waiting = true
        const stored = yield* store.store({ user, ...memory })
        return stored.duplicate ? stored : { ...stored, pending: true, reason: made.left.message }
      }
      const stored = yield* store.store({ user, ...memory, embedding: { model, vector: Array.from(made.right) } })
      if (waiting) waiting = yield* makeUp
      return stored
    })
}
