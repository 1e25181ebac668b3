/**
 * Collections of texts with metadata, found by their words: the same terms on every engine, ranked by BM25 with k1 = 2,
 * which suits questions of many words, and b = 0.75.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"
import type { FilterInput, Highlight, JsonObject, QuerySyntax, TextAnalysis } from "../vector/index.js"

/**
 * How the words of a collection are found.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextCollectionOptions {
  /**
   * `english` (default) and other languages find words by their stems, `simple` as they are, in any language; `trigram`
   * finds any part of a word.
   */
  readonly language?: TextAnalysis.Language
}

/**
 * A collection, and how many records it has.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextCollectionInfo {
  readonly name: string
  readonly language: TextAnalysis.Language
  readonly count: number
}

/**
 * A text as it is put.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextRecord {
  /** Unique within its collection. */
  readonly id: string
  /** At most 262144 bytes. */
  readonly text: string
  readonly metadata?: JsonObject
}

/**
 * A text as it is kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface StoredText {
  readonly id: string
  readonly text: string
  readonly metadata: JsonObject
}

/**
 * Which records are found, and how many.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextSearchOptions {
  /** How many results at most, 1 to 10000; default 10. */
  readonly limit?: number
  /** Only records whose metadata match. */
  readonly filter?: FilterInput
  /** `plain` (default): the text is text. `advanced`: "phrases", -word, OR and prefix* mean something. */
  readonly syntax?: QuerySyntax.Syntax
}

/**
 * A text that was found, how well it fits, and where.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextHit extends StoredText {
  /** The greater, the better; comparable within one search only. */
  readonly bm25: number
  /** The parts of the text that were looked for. */
  readonly highlights: ReadonlyArray<Highlight.Range>
}

/**
 * Fails with `NotFound` for an unknown collection, `InvalidInput` (a bad record, limit or filter), or `MigrationError`
 * (`not-migrated`) before the first migration. No text that is looked for is an error. Writes inside a transaction of the
 * same backend belong to it.
 *
 * @since 0.1.0
 * @category tags
 */
export class TextStore extends Context.Tag("effect-db-hub/TextStore")<
  TextStore,
  {
    /** Does nothing if the collection is there with the same settings; `DbConflict` if with others. */
    readonly createCollection: (name: string, options?: TextCollectionOptions) => Effect.Effect<void, DbError>
    /** Inserts, or replaces the record of the same id. */
    readonly insert: (collection: string, record: TextRecord) => Effect.Effect<void, DbError>
    /** All or nothing. */
    readonly insertMany: (collection: string, records: ReadonlyArray<TextRecord>) => Effect.Effect<void, DbError>
    /**
     * Adds records whose ids are new, all or nothing; `DbConflict` if one is not. It is the quickest way in; inside a
     * transaction it may be sent together with what comes next, and fail with that.
     */
    readonly add: (collection: string, records: ReadonlyArray<TextRecord>) => Effect.Effect<void, DbError>
    /** The records with some of the words, the best first, equal ones by id; none for a text without words. */
    readonly search: (
      collection: string,
      text: string,
      options?: TextSearchOptions
    ) => Effect.Effect<ReadonlyArray<TextHit>, DbError>
    /** The records that exist, in the order of the ids asked for. */
    readonly get: (collection: string, ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<StoredText>, DbError>
    /** Succeeds with the number of records deleted. */
    readonly delete: (collection: string, ids: ReadonlyArray<string>) => Effect.Effect<number, DbError>
    /** Deletes what matches; `{}` matches everything. Succeeds with the number of records deleted. */
    readonly deleteWhere: (collection: string, filter: FilterInput) => Effect.Effect<number, DbError>
    readonly count: (collection: string, filter?: FilterInput) => Effect.Effect<number, DbError>
    readonly collections: Effect.Effect<ReadonlyArray<TextCollectionInfo>, DbError>
    readonly dropCollection: (name: string) => Effect.Effect<void, DbError>
  }
>() {}
