/**
 * One search over texts and vectors, the same on every engine.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError, EmbeddingError } from "../errors/index.js"
import type { FilterInput, Fusion, Highlight, JsonObject, Metric, QuerySyntax, TextAnalysis } from "../vector/index.js"
import type { EmbeddingsShape } from "./Embeddings.js"
import type { Progress } from "./Progress.js"

/**
 * What a collection holds, and how it is searched.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchCollectionOptions {
  /** Default `english`. */
  readonly language?: TextAnalysis.Language
  /** Dimensions of the vectors; without it and a model the collection has texts only. */
  readonly dimension?: number
  /** Default `cosine`. */
  readonly metric?: Metric
  /**
   * The embedding model, so that vectors of another are not mixed in by mistake. `true` is that of `Embeddings`, with its
   * dimension: records and questions without vectors are then embedded; `ModelMismatch` or `DimensionMismatch`
   * if the collection is there with another.
   */
  readonly model?: string | true
}

/**
 * What a collection was made with: null for what it has not.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchCollectionInfo {
  readonly name: string
  /** Null for a collection of vectors alone. */
  readonly language: TextAnalysis.Language | null
  /** Null for a collection of texts alone. */
  readonly dimension: number | null
  readonly metric: Metric | null
  readonly model: string | null
}

/**
 * What is searched for: a text, its vector, and metadata.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchRecord {
  /** Unique within its collection. */
  readonly id: string
  readonly text: string
  /**
   * Without one the model of the collection embeds the text, if it is at hand; until then, and with null, the record is
   * found by its text alone.
   */
  readonly vector?: ReadonlyArray<number> | Float32Array | null
  /** The model that made the vector: one that the collection does not have is refused. */
  readonly model?: string
  readonly metadata?: JsonObject
}

/**
 * By words, by vectors, or by both.
 *
 * @since 0.1.0
 * @category models
 */
export type SearchMode = "text" | "vector" | "hybrid"

/**
 * How the legs of a hybrid search become one ranking. Weights are at least 0 and not both 0; default 1 for both under
 * RRF; where scores are added, 0.3 for text and 0.7 for vectors, and the other way round if the model is lexical
 * (`hashing-…`): it knows no more than the words do, and BM25 weighs them better.
 *
 * @since 0.1.0
 * @category models
 */
export type FusionOptions =
  | {
      readonly strategy: "rrf"
      /** Default 60. */
      readonly k?: number
      readonly textWeight?: number
      readonly vectorWeight?: number
    }
  | {
      readonly strategy: "weighted"
      /** Default `min-max`. */
      readonly normalization?: Fusion.Normalization
      readonly textWeight?: number
      readonly vectorWeight?: number
    }

/**
 * What is looked for, and how.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchRequest {
  /** What is looked for in words. */
  readonly text?: string
  /** What is looked for as a vector; without one, the text is embedded by the model of each collection. */
  readonly vector?: ReadonlyArray<number> | Float32Array
  /**
   * Default: what the request brings, `hybrid` if both. A text is embedded where that is needed and a model at hand, so
   * that it alone is `hybrid`, too, unless its `syntax` is `advanced`: what that excludes by words, vectors may find.
   */
  readonly mode?: SearchMode
  /** How many results at most, 1 to 10000; default 10. */
  readonly limit?: number
  /** Only records whose metadata match, in every leg. */
  readonly filter?: FilterInput
  /** Default `plain`. */
  readonly syntax?: QuerySyntax.Syntax
  /** Default RRF, and `weighted` where the model is lexical. */
  readonly fusion?: FusionOptions
  /** Results of each leg that are fused; default 50, and never less than `limit`. */
  readonly preFusionLimit?: number
  /**
   * Leave out of the vector leg what has a smaller cosine; a text match is not measured by it. Where the model is lexical,
   * what has nothing in common with the question is left out in any case.
   */
  readonly minSimilarity?: number
  /**
   * Choose among the best `preFusionLimit` those that are good and unlike each other, by the cosine of their vectors
   * (maximal marginal relevance): results are in the order in which they were chosen. `lambda`, default 0.7, is how much
   * being good counts for against being unlike, from 0 to 1. `InvalidInput` where there are no vectors.
   */
  readonly mmr?: { readonly lambda?: number }
}

/**
 * A record that was found, and how well it fits.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchResult {
  /** The collection that it is in. */
  readonly collection: string
  readonly id: string
  readonly score: number
  /** What `score` is; `ranking`: that of the store, as it says. */
  readonly scoreKind: "rrf" | "weighted" | "bm25" | "ranking" | Metric
  /** The position in the text leg, counted from 1. */
  readonly textRank?: number
  readonly vectorRank?: number
  /** The similarity in the vector leg of a collection whose metric is cosine. */
  readonly cosine?: number
  readonly bm25?: number
  readonly text: string | null
  readonly metadata: JsonObject
  /** The parts of the text that were looked for. */
  readonly highlights: ReadonlyArray<Highlight.Range>
}

/**
 * A part of a search that failed, so that the results are those of the others.
 *
 * @since 0.1.0
 * @category models
 */
export interface FailedLeg {
  readonly collection: string
  readonly leg: "text" | "vector"
  readonly error: DbError
}

/**
 * What was found, how, and what failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchAnswer {
  /** Best first, equal ones by id, then by collection, unless `mmr` chose them. */
  readonly results: ReadonlyArray<SearchResult>
  /** Legs that gave nothing because they failed; empty when all is well. */
  readonly failed: ReadonlyArray<FailedLeg>
  readonly mode: SearchMode
  readonly timings: SearchTimings
}

/**
 * Milliseconds; the legs run side by side.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchTimings {
  readonly total: number
  /** Of the text leg. */
  readonly text?: number
  /** Of the vector leg, the embedding of the question included. */
  readonly vector?: number
  /** Of the embedding of the question. */
  readonly embedding?: number
}

/**
 * A record that the model does not embed, and why.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedRecord {
  readonly id: string
  readonly error: EmbeddingError
}

/**
 * What became of the vectors of records.
 *
 * @since 0.1.0
 * @category models
 */
export interface EmbeddingReport {
  /** Records that the model embedded. */
  readonly embedded: number
  /** Records that wait for their vectors, found by text alone until `embedPending` has given them these. */
  readonly pending: number
  /** Those of them that the model refused one by one, and will refuse again; absent where there are none. */
  readonly refused?: ReadonlyArray<RefusedRecord>
  /** Why they wait; absent where none do, or where no model is at hand. */
  readonly failed?: EmbeddingError
}

/**
 * What came of moving a collection to another model.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReembedReport extends EmbeddingReport {
  /** False where the model failed before all was embedded: call again to go on from there. */
  readonly moved: boolean
}

/**
 * How embedding tells where it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface EmbedOptions {
  readonly onProgress?: (progress: Progress) => Effect.Effect<void>
}

/**
 * What is asked of the search of a store: words, an embedding, or both. Vectors of each model are kept apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreSearchRequest extends Omit<SearchRequest, "filter" | "vector"> {
  readonly embedding?: { readonly model: string; readonly vector: ReadonlyArray<number> }
}

/**
 * How well a result fits, and why.
 *
 * @since 0.1.0
 * @category models
 */
export type Ranks = Pick<
  SearchResult,
  "score" | "scoreKind" | "textRank" | "vectorRank" | "cosine" | "bm25" | "highlights"
>

/**
 * What was found in a store, and what failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoreSearchAnswer<A> {
  /** Best first, equal ones by id, unless `mmr` chose them. */
  readonly results: ReadonlyArray<A & Ranks>
  /** Legs that gave nothing because they failed; empty when all is well. */
  readonly failed: ReadonlyArray<FailedLeg>
}

/**
 * Fails with `NotFound` for an unknown collection, `InvalidInput` for a bad request, `DimensionMismatch`, `ModelMismatch`
 * where a collection has another model than the one at hand, and with a leg's own error when there is no other leg that
 * succeeded. Writes inside a transaction of the same backend belong to it; what a model is asked is asked before the
 * writes, so embed before a transaction rather than in it.
 *
 * @since 0.1.0
 * @category tags
 */
export class Search extends Context.Tag("effect-db-hub/Search")<
  Search,
  {
    /** All collections by name, without those that the hub keeps for itself (`db_hub_…`). */
    readonly collections: Effect.Effect<ReadonlyArray<SearchCollectionInfo>, DbError>
    /**
     * Does nothing if the collection is there with the same settings; `DbConflict` if with others. A collection of texts
     * may be given a model later: its texts are pending then, until `embedPending` embeds them.
     */
    readonly createCollection: (name: string, options?: SearchCollectionOptions) => Effect.Effect<void, DbError>
    /**
     * Inserts records or replaces those of the same ids, text and vector together, all or nothing. A record without a
     * vector whose text is there already keeps the vector that is there; another is embedded by the collection's model.
     * Where the model fails, the texts are stored all the same and the vectors are pending; one text that it refuses
     * keeps no other from its vector.
     */
    readonly index: (
      collection: string,
      records: ReadonlyArray<SearchRecord>
    ) => Effect.Effect<EmbeddingReport, DbError>
    /**
     * Writes nothing: the same records with the vectors that `index` would give them, null where it would leave them
     * pending. For those who index in a transaction of their own.
     */
    readonly embed: (
      collection: string,
      records: ReadonlyArray<SearchRecord>
    ) => Effect.Effect<EmbeddingReport & { readonly records: ReadonlyArray<SearchRecord> }, DbError>
    /** Gives pending records their vectors; what the model refuses one by one stays pending. */
    readonly embedPending: (collection: string, options?: EmbedOptions) => Effect.Effect<EmbeddingReport, DbError>
    /** The number of records that wait for their vectors. */
    readonly pending: (collection: string) => Effect.Effect<number, DbError>
    /**
     * Moves a collection to another model, or to another dimension of it, by default to the one at hand. The old vectors
     * answer until all texts have new ones, then all change at once. Others may write meanwhile, and nothing of that is
     * lost. After a crash, or where the model failed, call it again: it goes on from there. It is long; run it in a fiber
     * of its own.
     */
    readonly reembed: (
      collection: string,
      options?: EmbedOptions & { readonly embeddings?: EmbeddingsShape }
    ) => Effect.Effect<ReembedReport, DbError>
    /** Succeeds with the number of records deleted. */
    readonly delete: (collection: string, ids: ReadonlyArray<string>) => Effect.Effect<number, DbError>
    readonly dropCollection: (name: string) => Effect.Effect<void, DbError>
    /** Of several collections as if they were one: their results are ranked together in one fusion. */
    readonly search: (
      collections: string | ReadonlyArray<string>,
      request: SearchRequest
    ) => Effect.Effect<SearchAnswer, DbError>
  }
>() {}
