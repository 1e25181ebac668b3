/**
 * What is found by words and by meaning, and what is kept to be found: collections and memories.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type DbError, invalidInput, NotFound } from "../errors/index.js"
import { nearest } from "../errors/nearest.js"
import * as SearchLive from "../layers/SearchLive.js"
import { defaultLimits } from "../services/AgentRows.js"
import type { BackendShape } from "../services/Backend.js"
import type { EmbeddingsShape } from "../services/Embeddings.js"
import type { MemoryStore } from "../services/MemoryStore.js"
import type { SearchMode } from "../services/Search.js"
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

/** The name under which memories are searched. */
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

const operation = "db_hub_search"

/** Collections in which the hub's own stores keep vectors of all users. */
const internal = "db_hub_"

/** Results of one search at most, and characters (code points) of each text. */
const maxLimit = 100

const cut = (text: string | null) => {
  const points = text === null ? [] : Array.from(text.slice(0, 2 * (defaultLimits.maxCell + 1)))
  return points.length <= defaultLimits.maxCell
    ? { text }
    : { text: points.slice(0, defaultLimits.maxCell).join(""), truncated: true }
}

const short = (score: number) => Number(score.toPrecision(6))

/**
 * Searches collections as if they were one, then memories. Text alone is embedded where the collections' model is at
 * hand: then the search is hybrid.
 *
 * @since 0.1.0
 * @category actions
 */
export const search = (backend: BackendShape, request: Request, { embeddings, memories }: Sources) =>
  Effect.gen(function* () {
    const { filter, limit = 10, query, vector } = request
    if (limit > maxLimit)
      return yield* invalidInput(operation, "limit", "is too large", `1 to ${maxLimit}`, backend.name)
    if (query === undefined && vector === undefined) {
      return yield* invalidInput(operation, "query", "is missing", "query, vector or both", backend.name)
    }
    const ofVectors = new Map((yield* backend.vector.collections).map((info) => [info.name, info]))
    const all = [...ofVectors.keys(), ...(yield* backend.text.collections).map(({ name }) => name)]
    const known = new Set(all.filter((name) => !name.startsWith(internal)))
    const asked = request.in ?? [...known, ...(memories === undefined ? [] : [memoriesName])]
    for (const name of asked) {
      if (known.has(name) || (name === memoriesName && memories !== undefined)) continue
      const near = nearest(name, [...known])
      return yield* new NotFound({
        backend: backend.name,
        operation,
        entity: "collection",
        message: `There is no such collection; ${near.length > 0 ? `did you mean ${near.join(", ")}?` : `there are ${[...known].join(", ") || "none"}`}`
      })
    }
    const collections = asked.filter((name) => known.has(name))
    const inMemories = asked.includes(memoriesName) && !known.has(memoriesName) ? memories : undefined

    /** The vector of the words, if it can be compared with those of the collections. */
    const fits = collections.every((name) => {
      const info = ofVectors.get(name)
      return info !== undefined && info.model === embeddings?.model && info.dimension === embeddings?.dimension
    })
    const embedded =
      query !== undefined && vector === undefined && request.mode !== "text" && embeddings !== undefined
        ? yield* fits || inMemories !== undefined ? Effect.asSome(embeddings.embed(query)) : Effect.succeedNone
        : Option.none()
    const meaning = vector ?? (fits ? Option.getOrUndefined(embedded) : undefined)
    const mode: SearchMode =
      request.mode ?? (meaning === undefined ? "text" : query === undefined ? "vector" : "hybrid")
    if (mode !== "text" && meaning === undefined && collections.length > 0) {
      return yield* invalidInput(
        operation,
        "mode",
        "needs a vector: these collections are not of the model that is configured here",
        "mode text, or a vector of their model",
        backend.name
      )
    }

    const found =
      collections.length === 0
        ? { results: [], failed: [] }
        : yield* SearchLive.make(backend).search(collections, {
            mode,
            limit,
            ...(query === undefined || mode === "vector" ? {} : { text: query }),
            ...(meaning === undefined || mode === "text" ? {} : { vector: meaning }),
            ...(filter === undefined ? {} : { filter: filter as FilterInput })
          })

    const ofQuery = vector ?? Option.getOrUndefined(embedded)
    const remembered =
      inMemories === undefined || ofQuery === undefined || embeddings === undefined || mode === "text"
        ? []
        : yield* inMemories.store.searchSimilar(
            inMemories.user,
            { model: embeddings.model, vector: Array.from(ofQuery) },
            { limit }
          )

    return {
      results: [
        ...found.results.map(({ collection, id, metadata, score, text }) => ({
          in: collection,
          id,
          score: short(score),
          ...cut(text),
          ...(Object.keys(metadata).length === 0 ? {} : { metadata })
        })),
        ...remembered.map(({ memory, score }) => ({
          in: memoriesName,
          id: memory.id,
          score: short(score),
          ...cut(memory.content),
          kind: memory.kind,
          ...(memory.tags.length === 0 ? {} : { tags: memory.tags })
        }))
      ],
      ...(found.failed.length === 0
        ? {}
        : { failed: found.failed.map(({ collection, error, leg }) => ({ collection, leg, error: error.message })) })
    }
  })

/**
 * Keeps a memory, with its vector where there is a model.
 *
 * @since 0.1.0
 * @category actions
 */
export const remember = (
  { store, user }: Memories,
  embeddings: EmbeddingsShape | undefined,
  memory: Arguments<"db_hub_remember">
): Effect.Effect<{ readonly id: string; readonly duplicate: boolean }, DbError> =>
  Effect.gen(function* () {
    const vector = embeddings === undefined ? undefined : yield* embeddings.embed(memory.content)
    return yield* store.store({
      user,
      ...memory,
      ...(vector === undefined || embeddings === undefined
        ? {}
        : { embedding: { model: embeddings.model, vector: Array.from(vector) } })
    })
  })
