/**
 * Collections of vectors with metadata and text, searched exactly, or through an index once they are large.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"
import type { FilterInput, JsonObject, Metric } from "../vector/index.js"

export type { Metric }

/**
 * What the vectors of a collection are.
 *
 * @since 0.1.0
 * @category models
 */
export interface CollectionOptions {
  /** Dimensions of every vector, 1…65535. */
  readonly dimension: number
  /** Default `cosine`. */
  readonly metric?: Metric
  /** The embedding model, so that vectors of another are not mixed in by mistake. */
  readonly model?: string
}

/**
 * Where a collection's index is on its way.
 *
 * @since 0.1.0
 * @category models
 */
export interface CollectionIndex {
  /** Such as `hnsw`; `none` where the collection is searched exactly. */
  readonly kind: string
  /**
   * `failed` = it was left unfinished and will be built anew; `refused` = it finds too little of what is nearest, so that
   * the collection is searched exactly.
   */
  readonly state: "none" | "building" | "ready" | "failed" | "refused"
  /** Bytes on disk. */
  readonly sizeBytes: number
  /** The share that is built, 0…1, while it is. */
  readonly progress?: number
  /** The share of the ten nearest that a search finds at least, by a sample of questions put to the graph as it was built. */
  readonly recall?: number
  readonly parameters?: {
    /** Connections of a vector. */
    readonly connectivity: number
    /** Candidates of a search. */
    readonly expansion: number
    /** How components are kept, such as `f16`. */
    readonly quantization: string
  }
}

/**
 * A collection, and how many records it has.
 *
 * @since 0.1.0
 * @category models
 */
export interface CollectionInfo {
  readonly name: string
  readonly dimension: number
  readonly metric: Metric
  readonly model: string | null
  readonly count: number
  /** The collection's index, on engines that keep one. */
  readonly index?: CollectionIndex
}

/**
 * A vector as it is put.
 *
 * @since 0.1.0
 * @category models
 */
export interface VectorRecord {
  /** Unique within its collection. */
  readonly id: string
  /** Stored as 32-bit floats. */
  readonly vector: ReadonlyArray<number> | Float32Array
  readonly metadata?: JsonObject
  readonly text?: string
}

/**
 * A vector as it is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredVector {
  readonly id: string
  readonly vector: Float32Array
  readonly metadata: JsonObject
  readonly text: string | null
}

/**
 * Which records are found, and how many.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchOptions {
  /** How many results, at least 1; default 10. */
  readonly k?: number
  /** Only records whose metadata match. */
  readonly filter?: FilterInput
  /** Leave out results below this score. */
  readonly minScore?: number
}

/**
 * A record that was found; the greater its score, the closer it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchHit {
  readonly id: string
  readonly score: number
  readonly metadata: JsonObject
  readonly text: string | null
}

/**
 * Fails with `NotFound` for an unknown collection, `DimensionMismatch`, `InvalidInput` (NaN or infinite components, a
 * zero vector under cosine, k < 1, a bad filter), or `MigrationError` (`not-migrated`) before the first migration.
 * Writes inside a transaction of the same backend belong to it.
 *
 * @since 0.1.0
 * @category tags
 */
export class VectorStore extends Context.Tag("effect-db-hub/VectorStore")<
  VectorStore,
  {
    readonly supportsVector: boolean
    /** Does nothing if the collection is there with the same settings; `DbConflict` if with others. */
    readonly createCollection: (name: string, options: CollectionOptions) => Effect.Effect<void, DbError>
    /** Inserts, or replaces the record of the same id. */
    readonly insert: (collection: string, record: VectorRecord) => Effect.Effect<void, DbError>
    /** All or nothing. */
    readonly insertMany: (collection: string, records: ReadonlyArray<VectorRecord>) => Effect.Effect<void, DbError>
    /** The k nearest, ordered by score then id; exactly k when k match. */
    readonly search: (
      collection: string,
      vector: ReadonlyArray<number> | Float32Array,
      options?: SearchOptions
    ) => Effect.Effect<ReadonlyArray<SearchHit>, DbError>
    /** The records that exist, in the order of the ids asked for. */
    readonly get: (
      collection: string,
      ids: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<StoredVector>, DbError>
    /** Succeeds with the number of records deleted. */
    readonly delete: (collection: string, ids: ReadonlyArray<string>) => Effect.Effect<number, DbError>
    /** Deletes what matches; `{}` matches everything. Succeeds with the number of records deleted. */
    readonly deleteWhere: (collection: string, filter: FilterInput) => Effect.Effect<number, DbError>
    readonly count: (collection: string, filter?: FilterInput) => Effect.Effect<number, DbError>
    readonly collections: Effect.Effect<ReadonlyArray<CollectionInfo>, DbError>
    readonly dropCollection: (name: string) => Effect.Effect<void, DbError>
  }
>() {}
