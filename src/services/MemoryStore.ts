/**
 * What an agent remembers of a user: found by meaning, by tag, by kind.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import type { VectorModel } from "./Embeddings.js"
import {
  Count,
  Id,
  JsonRecord,
  JsonValue,
  Key,
  optional,
  type Page,
  type PageOptions,
  Text,
  Timestamp,
  UserId
} from "./Model.js"
import type { StoreSearchAnswer, StoreSearchRequest } from "./Search.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * What happened, what is so, how something is done.
 *
 * @since 0.1.0
 * @category models
 */
export const MemoryKind = Schema.Literal("episodic", "semantic", "procedural")

/**
 * @since 0.1.0
 * @category models
 */
export type MemoryKind = typeof MemoryKind.Type

/**
 * From 0 to 1.
 *
 * @since 0.1.0
 * @category models
 */
export const Importance = Schema.Number.pipe(
  Schema.filter((value) => value >= 0 && value <= 1, { message: () => "a number from 0 to 1" })
)

/**
 * A vector and the model that made it: vectors of different models are never compared.
 *
 * @since 0.1.0
 * @category models
 */
export const Embedding = Schema.Struct({
  model: Text.pipe(
    Schema.filter((name) => name.length >= 1 && name.length <= 200, { message: () => "a name of 1 to 200 characters" })
  ),
  vector: Schema.Array(Schema.Finite)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Embedding = typeof Embedding.Type

/**
 * What an agent remembers of a user.
 *
 * @since 0.1.0
 * @category models
 */
export const Memory = Schema.Struct({
  id: Id,
  userId: UserId,
  kind: MemoryKind,
  content: Text,
  summary: Schema.NullOr(Text),
  importance: Importance,
  tags: Schema.Array(Key),
  source: Schema.NullOr(Text),
  metadata: JsonRecord,
  /** Of the stored vector; null without one: `searchSimilar` does not find it then. */
  embeddingModel: Schema.NullOr(Text),
  dimension: Schema.NullOr(Count),
  accessCount: Count,
  accessedAt: Schema.NullOr(Timestamp),
  supersedes: Schema.NullOr(Id),
  supersededBy: Schema.NullOr(Id),
  expiresAt: Schema.NullOr(Timestamp),
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Memory = typeof Memory.Type

/**
 * Stores a memory; kind `semantic` and importance 0.5 unless given.
 *
 * If the user has a memory of the same content (Unicode form and white space aside), or, with `duplicateFrom`, one whose
 * cosine similarity is at least that, nothing is stored: the result is that one's id, with `duplicate`. This holds for
 * any number of writers. `supersedes` names a memory that this one replaces: it is found by `get` alone from then on.
 *
 * @since 0.1.0
 * @category operations
 */
export const StoreMemory = operation("MemoryStore.store", {
  payload: {
    user: UserId,
    content: Text,
    id: optional(Id),
    kind: optional(MemoryKind),
    importance: optional(Importance),
    tags: optional(Schema.Array(Key)),
    summary: optional(Text),
    source: optional(Text),
    metadata: optional(JsonRecord),
    embedding: optional(Embedding),
    duplicateFrom: optional(Schema.Finite),
    supersedes: optional(Id),
    expiresAt: optional(Timestamp)
  },
  success: Schema.Struct({ id: Id, duplicate: Schema.Boolean })
})

/**
 * Replaces the given fields; null takes a value away. New content without an embedding takes the old vector away, since
 * it stands for other words. The content of another memory, or a memory that was superseded, is `DbConflict`.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateMemory = operation("MemoryStore.update", {
  payload: {
    user: UserId,
    id: Id,
    content: optional(Text),
    kind: optional(MemoryKind),
    importance: optional(Importance),
    tags: optional(Schema.Array(Key)),
    summary: optional(Schema.NullOr(Text)),
    source: optional(Schema.NullOr(Text)),
    metadata: optional(JsonRecord),
    embedding: optional(Schema.NullOr(Embedding)),
    expiresAt: optional(Schema.NullOr(Timestamp))
  }
})

/**
 * Replaces exactly one path of the metadata; null is stored as null. Objects that are missing on the way are made; a path
 * through anything else is `InvalidInput`.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetMemoryField = operation("MemoryStore.setField", {
  payload: { user: UserId, id: Id, path: Schema.NonEmptyArray(Text), value: JsonValue }
})

/**
 * Merges into the metadata (RFC 7396): null takes a key away.
 *
 * @since 0.1.0
 * @category operations
 */
export const MergeMemoryMetadata = operation("MemoryStore.mergeMetadata", {
  payload: { user: UserId, id: Id, patch: JsonRecord }
})

/**
 * Gives memories their vectors, which are of the contents with these hashes (SHA-256, in hexadecimal). What was reworded,
 * superseded or deleted meanwhile is passed over. It makes no memory younger. Succeeds with how many.
 *
 * @since 0.1.0
 * @category operations
 */
export const EmbedMemories = operation("MemoryStore.embed", {
  payload: {
    user: UserId,
    model: Embedding.fields.model,
    embeddings: Schema.Array(Schema.Struct({ id: Id, contentHash: Key, vector: Embedding.fields.vector })).pipe(
      Schema.maxItems(1000)
    )
  },
  success: Count
})

/**
 * Deletes a memory and its vector.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteMemory = operation("MemoryStore.delete", { payload: { user: UserId, id: Id } })

/**
 * Counts an access to each of the memories, as when they were shown to a model. Succeeds with how many there are.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordMemoryAccess = operation("MemoryStore.recordAccess", {
  payload: { user: UserId, ids: Schema.Array(Id) },
  success: Count
})

/**
 * Deletes what has expired. Succeeds with how many.
 *
 * @since 0.1.0
 * @category operations
 */
export const PruneMemories = operation("MemoryStore.prune", { payload: { user: UserId }, success: Count })

/**
 * How far a result's score may depart from its similarity; each weight is from 0 (no effect, the default) to 1.
 *
 * `score = similarity - decay * (1 - 0.5 ^ (age / halfLife)) + access * min(1, ln(1 + accessCount) / ln(11))
 * + importance * (importance of the memory - 0.5)`, where age is the time since the memory was last written: being found
 * does not make it younger. No memory gains more than `access + importance / 2`, or loses more than
 * `decay + importance / 2`. The order is exact: every memory that could be among the first is looked at.
 *
 * @since 0.1.0
 * @category models
 */
export interface MemoryRanking {
  readonly decay?: number
  /** In days; default 30. */
  readonly halfLife?: number
  readonly access?: number
  readonly importance?: number
}

/**
 * Which memories are looked through, and how they are ranked.
 *
 * @since 0.1.0
 * @category models
 */
export interface SimilarMemoryOptions {
  /** At most 1000; default 10. */
  readonly limit?: number
  /** Leaves out what is less similar, whatever its score. */
  readonly minSimilarity?: number
  readonly kinds?: ReadonlyArray<MemoryKind>
  /** Memories with all of these. */
  readonly tags?: ReadonlyArray<string>
  readonly minImportance?: number
  readonly ranking?: MemoryRanking
}

/**
 * What is asked of the search of memories: words, an embedding, or both.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchMemoriesRequest
  extends Omit<StoreSearchRequest, "embedding">,
    Pick<SimilarMemoryOptions, "kinds" | "tags" | "minImportance" | "ranking"> {
  readonly embedding?: Embedding
}

/**
 * A memory that was found. Highlights are places in its content.
 *
 * @since 0.1.0
 * @category models
 */
export interface FoundMemory {
  readonly memory: Memory
}

/**
 * A memory that was found by its vector.
 *
 * @since 0.1.0
 * @category models
 */
export interface SimilarMemory {
  readonly memory: Memory
  /** The cosine of the two vectors, from -1 to 1. */
  readonly similarity: number
  /** What the results are ordered by: the similarity, unless a ranking was asked for. */
  readonly score: number
}

/**
 * Which memories are listed; what is left out does not matter.
 *
 * @since 0.1.0
 * @category models
 */
export interface ListMemoriesOptions extends PageOptions {
  readonly kind?: MemoryKind
  readonly tag?: string
  readonly minImportance?: number
  /** Those without a vector of this model, to embed them, but for blank ones. `Embeddings` is one. */
  readonly notEmbeddedBy?: VectorModel
  /** Those that were superseded, too. */
  readonly superseded?: boolean
}

/**
 * Another user's memory, and one that has expired, is `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class MemoryStore extends Context.Tag("effect-db-hub/MemoryStore")<
  MemoryStore,
  {
    readonly store: Submit<typeof StoreMemory>
    readonly update: Submit<typeof UpdateMemory>
    readonly setField: Submit<typeof SetMemoryField>
    readonly mergeMetadata: Submit<typeof MergeMemoryMetadata>
    readonly embed: Submit<typeof EmbedMemories>
    readonly delete: Submit<typeof DeleteMemory>
    readonly recordAccess: Submit<typeof RecordMemoryAccess>
    readonly prune: Submit<typeof PruneMemories>
    /** `NotFound` if there is none of the user's. */
    readonly get: (user: string, id: string) => Effect.Effect<Memory, DbError>
    /** Newest first. */
    readonly list: (user: string, options?: ListMemoriesOptions) => Effect.Effect<Page<Memory>, DbError>
    /**
     * The user's memories nearest to an embedding, among those embedded by the same model: as many as asked for, if
     * there are so many. Nothing is written: tell `recordAccess` what was used.
     */
    readonly searchSimilar: (
      user: string,
      embedding: Embedding,
      options?: SimilarMemoryOptions
    ) => Effect.Effect<ReadonlyArray<SimilarMemory>, DbError>
    /**
     * The user's memories found by the words of their contents, summaries and tags, by an embedding, or by both, as one
     * ranking. With `ranking`, the best `preFusionLimit` are ordered by its score, with the place of their own score
     * between that of the worst (0) and of the best (1) of them for the similarity.
     */
    readonly search: (
      user: string,
      request: SearchMemoriesRequest
    ) => Effect.Effect<StoreSearchAnswer<FoundMemory>, DbError>
  }
>() {}
